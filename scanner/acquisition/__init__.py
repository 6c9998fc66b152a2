"""What is captured: label, sample, focus and the loop over a plan."""
