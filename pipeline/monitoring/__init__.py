"""What was the champion asked, does that still look like what it learnt from, and who is told?"""
