"""What is found out of a backbone by trying it on structures made for that."""
