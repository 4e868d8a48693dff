"""One method, one function, one picture: which view goes into which network, what is trained and what is frozen, what
is passed on, and where the losses are. Formulas stand in docs/methods.md."""

from matplotlib.figure import Figure

from kdlab.show.boxes import Arrow, Box, draw

_VIEWS, _NETS = "kdlab.clips.views", "kdlab.nets.video.TinyR2Plus1D"
_PAPERS = "kdlab.papers"


def teacher_training() -> Figure:
    """How any network is trained on labels, and when it becomes a teacher."""
    boxes = [
        Box("clip", "view", 1.03, 0.4, "a file, a label", "kdlab.clips.catalogue.ClipRecord"),
        Box("view", "view", 3.2, 0.4, "raw or enhanced", f"{_VIEWS}.View"),
        Box("teacher", "trained", 5.5, 0.4, "a video network", _NETS),
        Box("cross-entropy", "loss", 7.95, 0.4, "the loss", "kdlab.distill.method.CrossEntropy"),
        Box("label", "view", 7.95, 1.5, "Jump, Run, …", "kdlab.clips.catalogue.ClipRecord"),
        Box("the same teacher", "frozen", 5.5, 1.5, "its weights in a run", "kdlab.train.runs.Run"),
    ]
    arrows = [
        Arrow("clip", "view"), Arrow("view", "teacher", "pixels"), Arrow("teacher", "cross-entropy", "logits"),
        Arrow("label", "cross-entropy"), Arrow("teacher", "the same teacher", "once trained"),
    ]
    return draw("Training a teacher", boxes, arrows,
                "A clip is read as a view, raw or enhanced; the view's pixels go into a video network, whose "
                "logits meet the label in the cross-entropy. Once trained, the network is frozen and kept in a run.")


def dual_light() -> Figure:
    """DL-KDD: the teacher sees the enhanced clip, the student the raw one."""
    return _two_views("DL-KDD: the teacher sees the clip in another light", "enhanced view", "brightened",
                      f"{_VIEWS}.Enhanced")


def same_light() -> Figure:
    """The control of DL-KDD: all is as there, but the teacher sees the raw clip."""
    return _two_views("Same-light KD, the control: the teacher sees the raw clip", "raw view, too", "dark",
                      f"{_VIEWS}.Raw")


def _two_views(title: str, light: str, says: str, of: str) -> Figure:
    boxes = [
        Box("dark clip", "view", 0.85, 1.4, "one crop, one flip", "kdlab.clips.views.Window", 1.4),
        Box(light, "view", 2.95, 0.4, says, of, 1.5),
        Box("raw view", "view", 2.95, 2.4, "dark", f"{_VIEWS}.Raw", 1.5),
        Box("teacher", "frozen", 5.05, 0.4, "trained before", _NETS),
        Box("student", "trained", 5.05, 2.4, "alone at test time", _NETS),
        Box("α t² KL", "loss", 7.95, 0.4, "at temperature t", "kdlab.distill.losses.kd_loss"),
        Box("(1 − α) CE", "loss", 7.95, 2.4, "cross-entropy", "kdlab.distill.method.CrossEntropy"),
        Box("label", "view", 7.95, 1.4, "Jump, Run, …", "kdlab.clips.catalogue.ClipRecord"),
    ]
    arrows = [
        Arrow("dark clip", light, out="top", into="left"), Arrow("dark clip", "raw view", out="bottom", into="left"),
        Arrow(light, "teacher"), Arrow("raw view", "student"),
        Arrow("teacher", "α t² KL", "soft targets", target=True, shift=(-0.12, -0.12)),
        Arrow("student", "(1 − α) CE", "logits"), Arrow("label", "(1 − α) CE"),
        Arrow("student", "α t² KL", "logits", shift=(-0.2, 0.17), turn=0.55, under=True),
    ]
    return draw(title, boxes, arrows,
                f"Of one dark clip, with one crop and one flip, the {light} goes into a frozen teacher and "
                "the raw view into a student that is trained. The teacher's logits are soft targets, without gradient, "
                "of a KL divergence at temperature t; the student's logits go into it and into the cross-entropy with "
                "the label. At test time the student runs alone.")


def bright_network() -> Figure:
    """A network of bright clips in the dark: as it is, re-estimated, and distilled; and what claims compare."""
    study, adapted = f"{_PAPERS}.dual_light.regimes_study", "kdlab.distill.adaptation"
    teach = f"{_PAPERS}.dual_light.method.DualLight"
    rows, columns = (0.4, 1.65, 2.9, 4.0), (0.9, 2.62, 4.5, 6.45, 8.1)
    boxes = [
        Box("enhanced view", "view", columns[0], rows[0], "dark clips, no label", f"{_VIEWS}.Enhanced", 1.5),
        Box("bright clips", "view", columns[0], rows[1], "with labels", "kdlab.night.streams.NightStream", 1.5),
        Box("raw view", "view", columns[0], rows[2], "dark clips, no label", f"{_VIEWS}.Raw", 1.5),
        Box("bright network", "trained", columns[1], rows[1], "by cross-entropy", f"{_PAPERS}.dual_light.regimes.start",
            1.45),
        Box("teacher", "frozen", columns[2], rows[0], "enhanced statistics", f"{adapted}.ReEstimated", 1.65),
        Box("as it is", "frozen", columns[2], rows[1], "on raw dark clips", f"{adapted}.AsItIs", 1.65),
        Box("re-estimated", "frozen", columns[2], rows[2], "raw dark statistics", f"{adapted}.ReEstimated", 1.65),
        Box("DL-KDD student", "trained", columns[3], rows[1], "raw view, no label", teach, 1.55),
        Box("same-light KD", "trained", columns[3], rows[3], "begins so, too", teach, 1.55),
        Box("D3r", "loss", columns[4], rows[0], "− enhanced at test", f"{study}.CLAIMS", 1.45),
        Box("D5r", "loss", columns[3], rows[2], "− re-estimated", f"{study}.CLAIMS", 1.55),
        Box("D2r", "loss", columns[4], rows[3], "− same-light KD", f"{study}.CLAIMS", 1.45),
    ]
    arrows = [
        Arrow("bright clips", "bright network"),
        Arrow("bright network", "as it is"),
        Arrow("enhanced view", "teacher", "statistics", shift=(-0.15, -0.15)),
        Arrow("bright network", "teacher", "weights", out="top", into="left", shift=(0, 0.15)),
        Arrow("bright network", "re-estimated", "weights", out="bottom", into="left", shift=(0, -0.15)),
        Arrow("raw view", "re-estimated", "statistics", shift=(0.15, 0.15), under=True),
        Arrow("teacher", "DL-KDD student", "soft targets", target=True, out="right", into="top", shift=(0.15, 0)),
        Arrow("re-estimated", "DL-KDD student", "begins so", shift=(-0.15, 0)),
        Arrow("re-estimated", "same-light KD", "soft targets", target=True, out="bottom", into="left"),
        Arrow("teacher", "D3r", shift=(-0.15, -0.15)), Arrow("DL-KDD student", "D3r", out="right", into="bottom"),
        Arrow("re-estimated", "D5r", shift=(0.15, 0.15)), Arrow("DL-KDD student", "D5r"),
        Arrow("same-light KD", "D2r"), Arrow("DL-KDD student", "D2r", out="right", into="top"),
    ]
    return draw("A bright network in the dark, and what claims compare", boxes, arrows,
                "A network is trained on bright clips with labels. On raw dark clips it stands as it is, or with "
                "batch-norm statistics re-estimated there. So the student begins; its teacher is the same network, "
                "re-estimated on enhanced dark clips and frozen. The student sees raw clips and learns from soft "
                "targets alone. D2r compares it with a student that the re-estimated network teaches, D3r with the "
                "teacher itself, enhanced at test, D5r with the re-estimated network.")


def generative_phases() -> Figure:
    """GenKD for recognition: phase 1 of the teacher, phase 2 of the student, each with its two passes."""
    taught = f"{_PAPERS}.generative.method.GenerativeDistillation"
    one, two, deep = _representation("teacher", 0.75), _representation("student", 4.7), 7.84
    boxes = [
        *one[0], *two[0],
        Box("taught attention", "loss", deep, 3.85, r"0.1 MSE(λ, $λ_T$)", taught, 2.0, 0.62, "pass 2: attention"),
        Box("frozen teacher", "frozen", 2.8, 3.85, r"attention $λ_T$", f"{_PAPERS}.generative.nets.Gated", 2.0, 0.62),
        Box("taught features", "loss", deep, 7.15, r"0.01 MSE(F′, $F′_T$)", taught, 2.0, 0.62, "pass 1: be taught"),
        Box("frozen CVAE", "frozen", 5.15, 7.15, "the teacher's", f"{_PAPERS}.generative.nets.CVAE", 1.75, 0.62),
    ]
    arrows = [
        *one[1], *two[1],
        Arrow("clip of the student", "frozen teacher", out="top", into="left"),
        Arrow("frozen teacher", "taught attention", r"$λ_T$", target=True, shift=(-0.1, -0.1)),
        Arrow("student", "taught attention", "λ", shift=(-0.2, 0.16), turn=0.72),
        Arrow("student", "frozen CVAE", "the student's F, λ", out="bottom", into="left", shift=(-0.45, 0)),
        Arrow("student's CVAE", "taught features", "F′", shift=(0.52, -0.14), turn=0.75, under=True),
        Arrow("frozen CVAE", "taught features", r"$F′_T$", target=True, shift=(0.14, 0.14), under=True),
    ]
    headings = [(0.15, 0.18, "Phase 1, feature representation: the teacher"),
                (0.15, 3.28, "Phase 2, generative distillation: the student"),
                (4.9, 0.18, "Pass 1 trains the CVAE, pass 2 the network"),
                (4.9, 3.28, "Pass 1 trains the CVAE, pass 2 the network")]
    return draw("GenKD: what a generative model makes of features is taught", boxes, arrows,
                "Phase 1: the teacher's features F are gated by an attention λ. In pass 1 a CVAE learns to rebuild F "
                "from F and λ; in pass 2 it is fixed, and the network learns from the label, and so that the CVAE can "
                "make F from λ alone. Phase 2: the student does the same with a CVAE of its own; besides, its "
                "attention is drawn to that of the frozen teacher, and what its CVAE makes to what the teacher's "
                "frozen CVAE makes of the student's F and λ.", headings)


def _representation(who: str, y: float) -> tuple[list[Box], list[Arrow]]:
    """The rows from ``y`` down that both phases of GenKD have."""
    method, nets, deep = f"{_PAPERS}.generative.method", f"{_PAPERS}.generative.nets", 7.84
    clip, cvae, loss = f"clip of the {who}", f"{who}'s CVAE", "{} of the " + who
    boxes = [
        Box(clip, "view", 0.8, y, "RGB or flow", f"{_VIEWS}.View", 1.3, 0.62, "clip"),
        Box(who, "trained", 2.8, y, "features F, attention λ", f"{nets}.Gated", 2.0, 0.62),
        Box(loss.format("class"), "loss", deep, y, "CE with the label", "kdlab.distill.method.CrossEntropy", 2.0, 0.62,
            "pass 2: classify"),
        Box(cvae, "trained", 5.15, y + 1.22, "F′ from F and λ,\nF″ from λ alone", f"{nets}.CVAE", 1.75, 1.2),
        Box(loss.format("making"), "loss", deep, y + 0.85, "0.5 w MSE(F″, F)", f"{method}.FeatureRepresentation", 2.0,
            0.62, "pass 2: make from λ"),
        Box(loss.format("rebuilding"), "loss", deep, y + 1.6, "MSE(F′, F) + 0.1 KL", f"{method}.kl_to_attention", 2.0,
            0.62, "pass 1: rebuild"),
    ]
    arrows = [
        Arrow(clip, who), Arrow(who, loss.format("class"), "logits", under=True),
        Arrow(who, cvae, "F, λ", out="bottom", into="left"),
        Arrow(cvae, loss.format("making"), "F″"), Arrow(cvae, loss.format("rebuilding"), "F′"),
    ]
    return boxes, arrows


def detection() -> Figure:
    """GenKD for temporal detection: a detector on two layers of a gated network, and what its teacher adds."""
    method, nets = f"{_PAPERS}.generative.detection_method", f"{_PAPERS}.generative.detector"
    boxes = [
        Box("window", "view", 0.84, 0.4, "frames of a video", "kdlab.clips.windows.Windows", 1.38),
        Box("student", "trained", 2.5, 0.4, "two layers, under λ", f"{nets}.Detector", 1.5),
        Box("pyramid", "trained", 4.6, 0.4, "finer to coarser", f"{nets}.DetectionNet", 1.35),
        Box("heads", "trained", 6.1, 0.4, "at every place", f"{nets}.DetectionNet", 1.2),
        Box("detection loss", "loss", 8.06, 0.4, "class, ends, overlap", f"{method}.detection_terms", 1.55),
        Box("segments", "view", 8.06, 1.4, "start, end, class", "kdlab.clips.windows.VideoWindow", 1.55),
        Box("soft-NMS", "loss", 6.1, 1.4, "only at test", "kdlab.measure.detection.soft_nms", 1.2),
        Box("student's CVAEs", "trained", 4.6, 1.4, "one a layer", "kdlab.papers.generative.nets.CVAEs", 1.5),
        Box("teacher", "frozen", 2.5, 2.4, "and its two CVAEs", f"{nets}.Detector", 1.5),
        Box("as in recognition", "loss", 5.85, 2.4, "attention and made features, summed over layers",
            f"{method}.DetectionDistillation", 3.6),
    ]
    arrows = [
        Arrow("window", "student"), Arrow("student", "pyramid", "features"), Arrow("pyramid", "heads"),
        Arrow("heads", "detection loss", "answers"), Arrow("segments", "detection loss"), Arrow("heads", "soft-NMS"),
        Arrow("window", "teacher", out="bottom", into="left"),
        Arrow("student", "student's CVAEs", "F, λ", out="bottom", into="left"),
        Arrow("student's CVAEs", "as in recognition", "F′, λ"),
        Arrow("teacher", "as in recognition", r"$λ_T$, $F′_T$", target=True),
    ]
    return draw("GenKD for detection: two layers are taught, the detector learns segments", boxes, arrows,
                "A window of frames goes into the student, of which two layers, under attention, feed a "
                "pyramid; heads answer at every place with class, start and end, and the detection loss compares them "
                "with the annotated segments. Each layer has a CVAE. The frozen teacher's attention and what its CVAEs "
                "make are targets, as in recognition, summed over the layers. At test time soft-NMS thins the answers.")


def compressed_modalities() -> Figure:
    """What a compressed file holds of a group of pictures, and the three networks that see it."""
    words = {"iframe": ("I-frame", "the picture: 3 channels"), "motion": ("motion vectors", "moved x, y: 2 channels"),
             "residual": ("residual", "the correction: 3 channels")}
    frames = [Box(name, "view", 0.36 + 0.48 * place, 1.4, "", "kdlab.clips.compressed.scan", 0.42, 0.5)
              for place, name in enumerate(("I", "P1", "P2", "P3", "…", "P11"))]
    boxes, arrows = frames, [Arrow("I", "I-frame", "stored whole", out="top", into="left"),
                             Arrow("P11", "motion vectors"),
                             Arrow("P11", "residual", out="bottom", into="left")]
    for row, (modality, (name, says)) in enumerate(words.items()):
        y, net, loss = 0.4 + row, f"{name.split()[0]} network", f"CE of {modality}"
        boxes += [Box(name, "view", 4.25, y, says, "kdlab.clips.coviar.Compressed", 1.95),
                  Box(net, "trained", 6.33, y, "2-D, on its own", "kdlab.nets.compressed.TinyCompressed", 1.65),
                  Box(loss, "loss", 8.28, y, "with the label", "kdlab.distill.method.CrossEntropy", 1.1, shown="CE")]
        arrows += [Arrow(name, net), Arrow(net, loss, "logits")]
    return draw("Three views that a compressed file holds already", boxes, arrows,
                "A group of pictures is one I-frame, stored whole, and eleven P-frames, which hold motion "
                "vectors and what is left. The I-frame's picture has three channels, the motion back to the I-frame "
                "two, the residual three. Each goes into a network of its own, trained on the label.",
                [(0.5, 0.9, "a group of twelve pictures")])


def progressive() -> Figure:
    """PKD: one network's internal classifiers, and their teachers in the order of time."""
    nets, method = f"{_PAPERS}.progressive.nets", f"{_PAPERS}.progressive.method"
    boxes = [Box("view", "view", 0.75, 0.4, "I, MV or R", "kdlab.clips.coviar.Compressed", 1.2)]
    arrows = [Arrow("view", "stage 1"), Arrow("stage 3", "final")]
    for k in (1, 2, 3):
        x = 2.5 + 1.75 * (k - 1)
        boxes += [Box(f"stage {k}", "frozen", x, 0.4, "", f"{nets}.frozen_maps", 1.15),
                  Box(f"exit {k}", "trained", x, 1.5, "", f"{nets}.Exit", 1.15)]
        arrows += [Arrow(f"stage {k}", f"exit {k}", "features"), Arrow(f"exit {k}", "soft cross-entropy", "logits")]
    arrows += [Arrow("stage 1", "stage 2"), Arrow("stage 2", "stage 3")]
    left, length = 0.2, 8.6  # of the line of time
    boxes += [Box("final", "frozen", 7.9, 0.4, "its own classifier", f"{nets}.FINALS", 1.8),
              Box("soft cross-entropy", "loss", left + length / 2, 2.6, "at every exit, no label",
                  f"{method}.soft_cross_entropy", length)]
    for name, says, start, end in (("motion", "first 1/6", 0, 1), ("residual", "next 1/6", 1, 2),
                                   ("own", "last 4/6 of the training", 2, 6)):
        middle, width = left + length * (start + end) / 12, length * (end - start) / 6
        boxes.append(Box(name, "frozen", middle, 3.95, says, f"{method}.PAPER", width - 0.08))
        arrows.append(Arrow(name, "soft cross-entropy", "logits" if name == "own" else "", target=True))
    return draw("PKD: the teacher of the exits changes while they learn", boxes, arrows,
                "A view of compressed video goes through three frozen stages to the network's own final "
                "classifier, frozen, too. After each stage hangs an exit that is trained by soft cross-entropy, "
                "without a label. Its targets are the logits of the motion network's final classifier for the first "
                "sixth of the training, of the residual network's for the next sixth, and of the network's own "
                "for the rest.",
                [(2.65, 3.25, "In turn, the final classifier of")])


def wise() -> Figure:
    """WISE: twelve exits are asked in turn, until their weighted sum is sure enough."""
    wise, pitch = f"{_PAPERS}.progressive.wise", 0.73
    names = [f"{letter}{k}" for letter in "RMI" for k in (1, 2, 3, 4)]
    boxes = [Box(name, "frozen", 0.5 + pitch * place, 0.75, "", f"{_PAPERS}.progressive.nets.EXITS", 0.56, 0.5)
             for place, name in enumerate(names)]
    middle, whole = 0.5 + pitch * 5.5, pitch * 11 + 0.56
    boxes += [
        Box("weighted sum of all logits so far", "trained", middle, 1.9, "weights fitted on held-out clips",
            f"{wise}.fit_wise", whole),
        Box("sure enough?", "loss", middle, 2.9, "largest probability above θ", f"{wise}.stop_at", 2.4),
        Box("answer", "loss", middle + 3.15, 2.9, "the rest is not computed", f"{wise}.curve", 2.1),
        Box("go on", "loss", middle - 3.15, 2.9, "compute the next exit", f"{wise}.stop_at", 2.1),
    ]
    arrows = [Arrow(name, "weighted sum of all logits so far", "logits" if name == "I4" else "") for name in names]
    arrows += [Arrow(one, other) for one, other in zip(names, names[1:], strict=False)]
    arrows += [Arrow("weighted sum of all logits so far", "sure enough?"), Arrow("sure enough?", "answer", "yes"),
               Arrow("sure enough?", "go on", "no")]
    networks = [(0.22 + 4 * pitch * k, 0.25, f"{name} network")
                for k, name in enumerate(("residual", "motion", "I-frame"))]
    return draw("WISE: exits are added up until they are sure", boxes, arrows,
                "Twelve frozen exits in a row, four each of the residual, the motion and the I-frame network. "
                "The logits of all exits so far are added with weights that are fitted on held-out clips. If the "
                "largest probability is above θ, that is the answer and the rest is not computed; if not, the next "
                "exit is.", networks)


def flat_minima() -> Figure:
    """How flatness is measured: one loss on the same clips, and what it does around the weights."""
    measure = "kdlab.measure.flatness"
    boxes = [
        Box("training clips", "view", 0.95, 1.4, "the same for each", "kdlab.clips.catalogue.ClipRecord", 1.6),
        Box("network, weights w", "frozen", 3.1, 1.4, "kept at equal loss", "kdlab.train.passing.each_passing", 2.0),
        Box("L(w)", "loss", 5.15, 1.4, "cross-entropy", "kdlab.distill.method.CrossEntropy", 1.3),
        Box("curvature", "loss", 7.62, 0.4, "trace, largest eigenvalue", f"{measure}.Hessian", 2.35),
        Box("worst neighbour", "loss", 7.62, 1.4, "SAM; ASAM, relative", f"{measure}.sharpness", 2.35),
        Box("typical change", "loss", 7.62, 2.4, "along steps long as filters",
            "kdlab.measure.surface.filter_direction", 2.35),
    ]
    arrows = [Arrow("training clips", "network, weights w"), Arrow("network, weights w", "L(w)", "logits"),
              Arrow("L(w)", "curvature", "H v", out="top", into="left"), Arrow("L(w)", "worst neighbour", "L(w + ε)"),
              Arrow("L(w)", "typical change", "H δ", out="bottom", into="left", under=True)]
    return draw("Flatness: what the loss does around the weights", boxes, arrows,
                "A network, kept when its training loss passed a mark, is given the same training clips as the others. "
                "Its cross-entropy L is asked in three ways how it rises around the weights w: by products with the "
                "Hessian, which give trace and largest eigenvalue; at the worst neighbour within a radius, absolute "
                "(SAM) or relative (ASAM); and along typical steps that are as long as the network's filters.")


def attention_map() -> Figure:
    """Grad-CAM and its score: a map, the actor's mask, and maps that know nothing of the class."""
    measure = "kdlab.measure.attention"
    boxes = [
        Box("test clip", "view", 0.95, 0.4, "in its own view", f"{_VIEWS}.View", 1.6),
        Box("features F", "frozen", 3.05, 0.4, "of a late stage", _NETS, 1.6),
        Box("logit", "loss", 5.2, 0.4, "of the label", _NETS, 1.4),
        Box("weights", "loss", 7.65, 0.4, "mean gradient a channel", f"{measure}.grad_cam", 2.3),
        Box("map", "loss", 7.65, 1.6, "ReLU(Σ weight · F)", f"{measure}.grad_cam", 2.3),
        Box("score", "loss", 7.65, 2.8, "pointing, energy, IoU", f"{measure}.scores", 2.3),
        Box("actor's mask", "view", 3.05, 2.8, "drawn by night", "kdlab.night.render_clip", 1.6),
        Box("a map without a network", "view", 3.05, 3.9, "the middle, what moves, …", f"{measure}.centred", 2.6),
        Box("its score", "loss", 7.65, 3.9, "on the same grid", f"{measure}.scores", 2.3),
    ]
    arrows = [Arrow("test clip", "features F"), Arrow("features F", "logit"),
              Arrow("logit", "weights", "gradient"), Arrow("weights", "map"),
              Arrow("features F", "map", "features", out="bottom", into="left"),
              Arrow("map", "score"), Arrow("actor's mask", "score", "where the actor is"),
              Arrow("a map without a network", "its score"), Arrow("its score", "score", "the zero of gains")]
    return draw("Grad-CAM, and what its score is compared with", boxes, arrows,
                "A clip's features at a late stage lead to the logit of the label. The mean gradient of that logit is "
                "a weight for each channel; the weighted and rectified sum of the features is the map. It is scored "
                "against the actor's mask, and so is a map that has seen no network, such as the middle of the "
                "picture: a network's gain is counted from that.")
