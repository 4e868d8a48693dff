"""GenKD"""
