"""What tests read in pages of HTML."""

from html.parser import HTMLParser


class Folds(HTMLParser):
    """Of each text the headings of the folds around it, and which of these stand open."""

    def __init__(self, page: str):
        super().__init__()
        self.around, self.open, self._path, self._summary = {}, [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._summary |= tag == "summary"
        if tag == "details":
            self._path.append("")
            self.open += [self._path] if "open" in dict(attrs) else []

    def handle_endtag(self, tag):
        self._summary &= tag != "summary"
        if tag == "details":
            self._path.pop()

    def handle_data(self, data):
        if self._summary:
            self._path[-1] += data
        elif data.strip():
            self.around[data.strip()] = tuple(self._path)
