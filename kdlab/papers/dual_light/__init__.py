"""DL-KDD"""
