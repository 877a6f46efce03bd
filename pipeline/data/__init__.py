"""What is a labelled image, where does it lie, and may it in?"""
