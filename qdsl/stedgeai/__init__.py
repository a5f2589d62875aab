"""ST Edge AI Core, ST's own tool for STM32, from outside: what it imports, and what its reports say."""
