"""Owners, parts and their exact halos."""
