"""What is put into pods that ask for the sidecar, and how is the API server answered?"""
