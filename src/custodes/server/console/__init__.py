"""What the console is made of, below its routes: sessions, what is read, what is shown, plots."""
