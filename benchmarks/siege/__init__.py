"""kdlab attacked from outside: what ``benchmarks/siege.py`` does, and by which rules it judges.

Every attack is a function of an :class:`siege.attack.Attack` and runs in a forked process with an empty folder of its
own; its random numbers come from (seed, part, index) alone. Six things are counted, and all six should be zero:

hang       not ended in time, more memory than any clip needs, or processes left behind
wrong      silently wrong: an answer that differs from the truth and says nothing. For videos the truth is an in-order
           decode by PyAV without kdlab (``films.decode``), of the stream that FFmpeg's own tools choose, turned as the
           attack turned the file; of a file damaged by the attack also the frames before the damage: fewer of them
           without a word (of ``data check`` or a warning), or other ones although FFmpeg complained, are wrong. For
           trainings it is an undisturbed run of the same recipe. A sound file that is called damaged, and a value
           outside its range that is taken, are wrong, too
traceback  an exception that is neither a ValueError nor an OSError, a traceback on the screen, or a crash
lost       finished work that is done again, or thrown away
touched    files of others changed or deleted, or anything outside of the places given: a request to the network, code
           that ran out of data
unnamed    a refusal that names neither the file nor the value

A refusal that names the file or the value is always right, but for sound input.
"""
