"""The words of the house: values, seams and errors that every room shares. Standard library only."""
