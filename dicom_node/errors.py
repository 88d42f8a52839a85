"""Every error of this project, in one tree.

    M3BindError
    ├── ConfigError                 the settings are wrong; the message says which key and what to write
    ├── BundleError                 a bundle cannot be used
    │   ├── BundleFormatError       no format that is read here, a file or key missing, a value out of range
    │   ├── BundleIntegrityError    a file's sha256 differs from the manifest
    │   └── BundleSelfTestError     this machine computes other outputs than the bundle expects
    ├── InputError                  an object from outside cannot be used; always carries a `reason`
    │   ├── NotDicomError           not a DICOM file at all
    │   ├── UnsupportedObjectError  DICOM, but no reader for this SOP class or image type
    │   ├── UnreadableObjectError   a reader exists, but the object is broken or lacks what it must have
    │   ├── OutOfScopeError         readable, but not what the encoder was made for
    │   └── QuestionError           a question to the archive that cannot be answered as it was asked
    ├── DecoderUnavailableError     this machine cannot decode now, whatever the object: try again later
    ├── InferenceError              an encoder could not be run
    │   └── InferenceUnavailableError   the server that runs it is away: try again later
    ├── ReportError                 facts that cannot be told as a standard SR
    ├── StorageError                spool or database
    │   ├── StorageFullError        no room: the sender is told Out of Resources
    │   ├── InstanceConflictError   the same SOP Instance UID with other content
    │   └── DatabaseUnavailableError
    └── ArchiveError                a peer
        ├── ArchiveUnavailableError down or overloaded: try again later
        └── ArchiveRefusedError     it answered no: trying again will not help
            ├── SopClassRefusedError    (archive/protocol.py) another form of the report may be taken
            └── StudyGoneError          (archive/protocol.py) the study is not there (any longer)

Only `dimse/status.py` and `web/problems.py` turn an error into a code of a protocol.
`describe` and `where` tell an error in a log or a record without quoting the data that caused it.
"""

import traceback


class M3BindError(Exception):
    """Root of all errors of this project. The message tells the reader what to do next."""


class ConfigError(M3BindError):
    """A setting is wrong."""


class BundleError(M3BindError):
    """A bundle cannot be used."""


class BundleFormatError(BundleError):
    """Not a bundle of a format that is read here."""


class BundleIntegrityError(BundleError):
    """A file of the bundle is not the file that was sealed."""


class BundleSelfTestError(BundleError):
    """The encoders answer differently here than where the bundle was sealed."""


class InputError(M3BindError):
    """An object from outside cannot be used.

    `reason` is a short stable slug (`missing-leads`, `no-pixel-data`); the message is for people
    and never holds patient data.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotDicomError(InputError):
    """Not a DICOM Part 10 file."""


class UnsupportedObjectError(InputError):
    """No reader for this kind of object."""


class UnreadableObjectError(InputError):
    """Broken, or without an attribute that it must have."""


class OutOfScopeError(InputError):
    """Readable, but not what the encoder was made for."""


class QuestionError(InputError):
    """A question that cannot be answered as it was asked. The message says how to ask instead; it never
    quotes the question, which may hold a name: `span` tells where in it the trouble lies (start, end), if
    anywhere."""

    def __init__(self, reason: str, message: str, span: tuple[int, int] | None = None) -> None:
        super().__init__(reason, message)
        self.span = span


class DecoderUnavailableError(M3BindError):
    """This machine cannot decode now, whatever the object: no memory, or no process can be started."""


class InferenceError(M3BindError):
    """An encoder could not be run."""


class InferenceUnavailableError(InferenceError):
    """The server that runs the encoders is down or overloaded; the same request may succeed later."""


class ReportError(M3BindError):
    """Facts that cannot be told as a standard SR."""


class StorageError(M3BindError):
    """The spool or the database failed."""


class StorageFullError(StorageError):
    """No room left in the spool."""


class InstanceConflictError(StorageError):
    """The same SOP Instance UID came with other content; what came first is kept."""


class DatabaseUnavailableError(StorageError):
    """The database does not answer."""


class ArchiveError(M3BindError):
    """A peer that keeps studies or reports."""


class ArchiveUnavailableError(ArchiveError):
    """The peer is down or overloaded; the same request may succeed later."""


class ArchiveRefusedError(ArchiveError):
    """The peer answered no; the same request will be refused again."""


def describe(error: BaseException) -> str:
    """An error of this tree in its own words; of any other only the kind, as its text may quote the data."""
    return str(error) if isinstance(error, M3BindError) else f"{type(error).__name__} (the log tells where)"


def where(error: BaseException) -> str:
    """The traceback of an error and of what caused it, without their messages."""
    cause = error.__cause__
    before = "" if cause is None else f"{where(cause)}{type(cause).__name__}, which caused:\n"
    return before + "".join(traceback.format_tb(error.__traceback__))
