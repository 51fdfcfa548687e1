"""What survives a restart?"""
