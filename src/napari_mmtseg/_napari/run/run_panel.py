"""Run, Stop, Discard, and how far a job has come."""

from __future__ import annotations

import math
import time
from typing import Any

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QEvent, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QCloseEvent, QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg._napari.fields.duration import duration
from napari_mmtseg._napari.fields.sentence import Sentence
from napari_mmtseg._napari.process.messages import (
    Done,
    Failed,
    FolderJob,
    Job,
    Note,
    Preview,
    Progress,
    Stop,
)
from napari_mmtseg._napari.process.store_job import StoreJob
from napari_mmtseg._napari.process.training_process import TrainingProcess
from napari_mmtseg._napari.run.loss_curve import LossCurve
from napari_mmtseg.prediction.label_image import Segmentation

_SILENCE_SECONDS = 30.0
_DRAWN_SECONDS = 0.25
"""Between two looks at how far a run is: each draws the window, which holds the run up."""
_BUSY_SECONDS = 1.0
"""Without a word, before the bar moves to and fro, which costs the run some of the processor."""
_RUN = "Train on the ticked images and label them."
_SHORTCUT = "Ctrl+Return"
_LEAST_PX = 380
_DOING = {
    "labelling": "Labelling part {} of {}",
    "objects": "Parting objects, {} of {}",
    "writing": "Writing block {} of {}",
    "files": "Image {} of {}",
}
_STOPPING = "Stopping; keeping what is done so far…"
_CUT_SHORT = "Stopped: what was not reached is empty."
_ON_ALL = "Run on all labels it with what was learned."
_WHOLE = "Training is stopped. {}; Stop again leaves out the rest"
_SILENT = (
    "No word from the training process for {}: it may be reading or computing something large, or "
    "be stopped; wait, or discard"
)


class RunPanel(QWidget):
    """Drives one job at a time in the training process and shows its progress."""

    run_wanted = Signal()
    all_wanted = Signal()
    previewed = Signal(object)
    """A `Preview` of the job under way."""
    finished = Signal(object)
    """The `Done` of a job that came to its end."""
    dropped = Signal()
    """The job failed or was discarded; nothing of it is kept."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.process = TrainingProcess(self)
        self.process.said.connect(self._hear)
        self._started: float | None = None
        self._trained = 0
        self._stopped_in: list[str] = []
        self._clock = _Clock("")
        self._later, self._goes_on = 0.0, False
        self._ending = False
        self._losses: list[float] = []
        self._drawn_at = -math.inf
        self._silence = QTimer(self)
        self._silence.setInterval(round(1000 * _SILENCE_SECONDS))
        self._silence.timeout.connect(self._say_silent)
        self._busy = QTimer(self)
        self._busy.setSingleShot(True)
        self._busy.setInterval(round(1000 * _BUSY_SECONDS))
        self._busy.timeout.connect(lambda: self._show_done(0, 0))
        self.run_button = QPushButton("Run")
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("End now and keep what is learned, or written.")
        self.discard_button = QPushButton("Discard")
        self.discard_button.setToolTip("End now and drop what this run has made.")
        self.progress = thin_bar()
        self.status = Sentence()
        self.curve = LossCurve()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        buttons = QHBoxLayout()
        for button in (self.run_button, self.stop_button, self.discard_button):
            buttons.addWidget(button)
        column.addLayout(buttons)
        self.all_button = QPushButton("Run on all")
        self.all_button.setToolTip("Label all of the images with the model that this part made.")
        self.all_button.clicked.connect(lambda: self.all_wanted.emit())
        self.all_button.hide()
        for part in (self.progress, self.status, self.all_button, self.curve):
            column.addWidget(part)
        self.run_button.clicked.connect(lambda: self.run_wanted.emit())
        self.stop_button.clicked.connect(self.stop)
        self.discard_button.clicked.connect(self.discard)
        self._problem = self._note = self._text = ""
        self.allow("")

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._started is not None

    @property
    def stopped(self) -> int | None:
        """After how many iterations the last training was stopped; None if it was not."""
        met = {"", "training"} & set(self._stopped_in)  # before the first iteration was heard of
        return self._trained if met and self._trained else None

    def allow(self, problem: str, note: str = "") -> None:
        """Enable Run, unless there is a problem: then it says so.

        Parameters
        ----------
        problem : str
        note : str
            What is assumed where there is none.
        """
        text = problem or " ".join(filter(None, ("Ready.", note)))
        if not self.running and not self._ending and text != self._text:
            self.say(text)
        self._problem, self._note, self._text = problem, note, text
        self.run_button.setEnabled(not self.running and not problem)
        self.run_button.setToolTip(problem or f"{_RUN} ({_SHORTCUT})")
        self.stop_button.setEnabled(self.running)
        self.discard_button.setEnabled(self.running)
        self.all_button.setEnabled(not self.running and not problem)

    def offer_all(self, able: bool) -> None:
        """Offer to go on with all of the images, or do so no longer."""
        self.all_button.setVisible(able)

    def start(self, job: Job | StoreJob | FolderJob, later: float = 0.0) -> None:
        """Begin a job.

        Parameters
        ----------
        job : Job, StoreJob or FolderJob
        later : float
            Seconds that what follows the training may take, as far as is known.
        """
        self._started = time.monotonic()
        self._trained, self._stopped_in, self._clock = 0, [], _Clock("")
        self._later, self._goes_on = later, isinstance(job, FolderJob)
        self.curve.clear()
        self._losses.clear()
        self._drawn_at = -math.inf
        self._show_done(0, 1)
        self._busy.start()
        self.say("Starting…")
        self._heard_at = time.monotonic()
        self._silence.start()
        self.process.start(job)
        self.allow(self._problem, self._note)

    def stop(self) -> None:
        """End training and keep what is learned, or writing and keep what is written."""
        self.process.tell(Stop())
        self._stopped_in.append(self._clock.phase)
        self.stop_button.setEnabled(False)
        self.say(_STOPPING)

    def discard(self) -> None:
        """End the job and drop what it has made."""
        if self.running:
            self.close_process()
            self.process.warm_up()

    def close_process(self) -> None:
        """End the process, and the job with it."""
        self.process.discard()
        if self.running:
            self._end("Discarded; your layers are as they were.")
            self.dropped.emit()

    def say(self, text: str) -> None:
        """Show one sentence."""
        self.status.setText(text)

    def fail(self, text: str) -> None:
        """Show why something could not be done, here and as a notification."""
        self.say(text)
        show_error(text)

    def _hear(self, message: Any) -> None:
        self._heard_at = time.monotonic()
        self._silence.start()  # anew
        self._busy.stop()
        if isinstance(message, Progress):
            self._show(message)
        elif isinstance(message, Preview):
            self.previewed.emit(message)
        elif isinstance(message, Note):
            show_info(message.text)
        elif isinstance(message, Done):
            self._end(cut_short(message.result) or f"Done in {duration(message.seconds)}.")
            self._ending = True  # new layers may make another problem, which is not the news
            self.finished.emit(message)
            self._ending = False
        elif isinstance(message, Failed):
            self._end("")
            self.dropped.emit()
            self.fail(message.text)

    def _show_done(self, done: int, total: int) -> None:
        self.progress.setRange(0, total)
        self.progress.setValue(done)

    def _show(self, step: Progress) -> None:
        if step.phase == "training":
            self._trained = step.done
            self._losses.append(step.loss)
        now = time.monotonic()
        passing = step.phase == self._clock.phase and step.done < step.total
        if passing and now - self._drawn_at < _DRAWN_SECONDS:
            return
        self._drawn_at = now
        self._say_step(step)
        self.curve.add(self._losses)
        self._losses.clear()
        self._show_done(step.done, step.total)  # draws the window, with what was said

    def _say_step(self, step: Progress) -> None:
        if step.phase != self._clock.phase:
            self._clock = _Clock(step.phase)
            # Images of a folder are done after a stop in training, until there is another.
            again = self._goes_on and self._stopped_in in ([""], ["training"])
            self.stop_button.setEnabled(not self._stopped_in or again)
        left = self._clock.left(step.done, step.total)
        if step.phase == "training":
            left = None if left is None else left + self._later
        if not self.stop_button.isEnabled():
            return  # what was said of stopping stays
        until = "" if left is None else f", {duration(left)} left"
        if step.phase == "training":
            loss = "" if math.isnan(step.loss) else f", loss {step.loss:.3g}"
            self.say(f"Iteration {step.done} of {step.total}{loss}, {step.n_labels} labels{until}")
            return
        doing = _DOING[step.phase].format(step.done, step.total) + until
        self.say(_WHOLE.format(doing) if self._stopped_in else doing)

    def _say_silent(self) -> None:
        self.say(_SILENT.format(duration(time.monotonic() - self._heard_at)))

    def _end(self, text: str) -> None:
        self._started = None
        self._silence.stop()
        self._busy.stop()
        self._show_done(0, 1)
        self.allow(self._problem, self._note)
        self.say(text)


class _Clock:
    """When a phase took its first step; what came before it says nothing about the others."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self._first: tuple[float, int] | None = None

    def left(self, done: int, total: int) -> float | None:
        """Return how many seconds the steps that are left will take; None at the first one."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        since, first = self._first
        return None if done <= first else (now - since) / (done - first) * (total - done)


class JobWidget(QWidget):
    """A widget that runs jobs, and ends the one under way when it leaves the window."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.panel = RunPanel()
        # While something in this widget has the focus: napari's own keys stay as they are.
        for key in (_SHORTCUT, "Ctrl+Enter"):
            keys = QShortcut(QKeySequence(key), self)
            keys.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            keys.activated.connect(self.panel.run_button.click)
        QTimer.singleShot(0, self.panel.process.warm_up)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self.panel.running

    def minimumSizeHint(self) -> QSize:
        """Return what its parts need, and not less than looks well."""
        hint = super().minimumSizeHint()
        return QSize(max(_LEAST_PX, hint.width()), hint.height())

    def name_dock(self, name: str) -> None:
        """Say in the title of the dock, if there is one, what runs here."""
        holder = self.parent()
        while holder is not None and not isinstance(holder, QDockWidget):
            holder = holder.parent()
        bar = None if holder is None else holder.titleBarWidget()
        title = None if bar is None else bar.findChild(QLabel)
        if isinstance(holder, QDockWidget):
            holder.setWindowTitle(name)
        if title is not None:
            title.setText(name)

    def leave(self) -> None:
        """End a run that is under way, and the process with it."""
        self.panel.close_process()

    def event(self, event: QEvent | None) -> bool:
        """End a run that is under way when the widget is taken out of the window."""
        if event is not None and event.type() == QEvent.Type.ParentChange and not self.parent():
            self.leave()
        return bool(super().event(event))

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """End a run that is under way."""
        self.leave()
        super().closeEvent(event)


def cut_short(result: Any) -> str:
    """Say that a run was stopped before its end, and how to go on; an empty string if not."""
    if not isinstance(result, Segmentation) or result.complete:
        return ""
    return _CUT_SHORT if result.model is None else f"{_CUT_SHORT} {_ON_ALL}"


def thin_bar() -> QProgressBar:
    """Make a bar that shows progress without words."""
    bar = QProgressBar()
    bar.setTextVisible(False)
    bar.setFixedHeight(8)
    return bar
