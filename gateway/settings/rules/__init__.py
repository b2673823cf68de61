"""Checks that concern more than one option, or more than the type of one."""
