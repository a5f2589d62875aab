"""What an artifact costs and loses: evaluated, profiled, held against the budgets, bundled for a device."""
