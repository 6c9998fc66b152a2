"""Where do facts and images live on disk, and how are they read back?"""
