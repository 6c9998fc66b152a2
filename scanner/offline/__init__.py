"""What works on files alone: one module a command."""
