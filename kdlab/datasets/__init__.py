"""Lists of clips: folders, tables, released data sets; splits; checks of their files."""
