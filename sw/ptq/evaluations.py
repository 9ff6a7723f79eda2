"""Integer networks on images, each network once: what was found is kept in a file."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from vitrtl.sw.engine import completed, open_engine
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, json_text, read_json, write_if_changed
from vitrtl.sw.network import IntegerNetwork
from vitrtl.sw.ptq.comparison import Accuracy, Reference

__all__ = ["Evaluations"]

FORMAT = "vitrtl.evaluations"
VERSION = 1


class Evaluations:
    """Accuracies by network and images, in a file that grows with each.

    A search that was interrupted goes on where it was. A file that is damaged, or of another
    version, is begun anew: everything in it can be found again.

    Parameters
    ----------
    path : of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.known: dict[str, dict[str, float]] = {}
        if self.path.is_file():
            try:
                head = read_json(self.path)
                if (head["format"], head["version"]) == (FORMAT, VERSION):
                    self.known = {key: dataclasses.asdict(Accuracy(**value))
                                  for key, value in head["records"].items()}
            except (UserError, KeyError, TypeError, AttributeError):
                pass

    def of(self, network: IntegerNetwork, reference: Reference,
           progress: Callable[[int], None] = lambda images: None) -> Accuracy:
        """Return what a network gets right, from the file or by running it.

        Parameters
        ----------
        network : what to run.
        reference : the images, and the float network's answers.
        progress : called with the number of images done; at once, for a network that is known.
        """
        key = _key(network, reference)
        if key in self.known:
            progress(len(reference.labels))
            return Accuracy(**self.known[key])
        found = reference.accuracy_of(network, progress)
        self._keep(key, found)
        return found

    def run_on(self, engine: str, workers: int, networks: Sequence[IntegerNetwork],
               reference: Reference) -> None:
        """Run those networks that are not known on an engine, side by side.

        Parameters
        ----------
        engine, workers : see `vitrtl.sw.engine`.
        networks : what to run.
        reference : the images, and the float network's answers.
        """
        new = {key: network for network in networks
               if (key := _key(network, reference)) not in self.known}
        if not new:
            return
        with open_engine(engine, workers) as pool:
            for place, found in completed(pool, reference.accuracy_of, new.values()):
                self._keep(list(new)[place], found)

    def _keep(self, key: str, found: Accuracy) -> None:
        self.known[key] = dataclasses.asdict(found)
        write_if_changed(self.path, json_text({"format": FORMAT, "version": VERSION,
                                               "records": self.known}))


def _key(network: IntegerNetwork, reference: Reference) -> str:
    return digest(network.digest, reference.digest)
