KINDS, SIZE = (), 0
