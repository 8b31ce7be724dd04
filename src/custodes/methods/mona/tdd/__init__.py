"""Test-driven development: tests, then a program that its own tests reward."""
