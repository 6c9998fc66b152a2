"""What moves, shines and sees, behind small protocols."""
