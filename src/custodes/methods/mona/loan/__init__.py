"""Loan applications: a summary, then a decision from the summary alone."""
