"""What people look at: the report and the viewer."""
