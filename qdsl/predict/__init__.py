"""What a plan will run in integers, judged without running it: which edges carry integers, by the rows of a table, and
how many multiplications a node does. What one runtime does of its own accord is in its target's room."""
