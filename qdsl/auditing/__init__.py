"""Auditing finished files: rules, one file each, what they find, waivers, and the forms in which findings are told."""
