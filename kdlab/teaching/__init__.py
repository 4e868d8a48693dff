"""For readers and lecturers: exercises that answer, copies without answers, slides, a site of all pages."""
