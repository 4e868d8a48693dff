"""Which notebooks take the clips that somebody gives, and why another does not: said before a kernel starts."""

from collections.abc import Mapping
from pathlib import Path

#: The notebooks that take no clips but kdlab's, by their numbers.
NEVER = {"09": "it scores maps against the actor's outline in every frame, which is known of kdlab's own clips alone"}


def why_not(notebook: Path, parameters: Mapping[str, object]) -> str:
    """Why ``notebook`` cannot be run on the clips in ``parameters`` (all that it runs with, among them ``data``) in a
    sentence or two; empty where it can. Reads lists and packets, decodes nothing. A companion (``07b``) takes what its
    chapter takes.
    """
    from kdlab.clips.segments import all_mpeg4
    from kdlab.clips.windows import all_annotated
    from kdlab.papers.progressive.recipes import yours
    from kdlab.show.your_clips import given

    number = notebook.stem[:2]
    if "data" not in parameters:
        return NEVER.get(number, "it has no parameter `data`")
    check = {"05": all_annotated, "06": all_mpeg4, "07": yours, "08": yours}.get(number)
    if check is None:
        return ""
    try:
        check(given(str(parameters["data"]), parameters.get("test_fold", ""), parameters.get("own_folds", 0),
                    str(parameters.get("on_damaged", "raise"))))
    except (ValueError, OSError) as error:
        return str(error)
    return ""
