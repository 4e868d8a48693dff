'''Studies: conditions are trained in several worlds, and questions about their differences are answered.

A *world* is one seed of everything: clips, networks, order. Your own study is one file, ``my_study.py``::

    """Does a teacher on enhanced clips help a student on dark ones, beyond training twice as long?"""

    from dataclasses import replace

    from kdlab.papers.dual_light.recipes import dual_light
    from kdlab.study import Question, Study


    def conditions(size, world):
        return dual_light(replace(size, night=replace(size.night, seed=world)), seed=world)


    study = Study("my_study", conditions, [
        Question("1", "Does an enhanced teacher help?", "dlkdd", "ce_raw", rivals=("ce_2x",), teacher="ce_enhanced"),
    ], worlds=range(6))

``kdlab study my_study.py`` trains the missing runs, prints the answers, and writes a table and the predictions to
``runs/studies/``.
'''

from kdlab.study.evidence import answers, compared, values
from kdlab.study.question import Answer, Question
from kdlab.study.scores import Scores, collect
from kdlab.study.study import Study

__all__ = ["Answer", "Question", "Scores", "Study", "answers", "collect", "compared", "values"]
