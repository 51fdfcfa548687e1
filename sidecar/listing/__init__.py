"""What would AWS Marketplace refuse of a listing, before it does?"""
