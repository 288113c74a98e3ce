"""Files that nobody made: what systems, editors and servers leave behind. Every reader has this list."""

import re
from pathlib import PurePosixPath
from typing import Final

NAMES: Final = (
    # macOS
    *(".DS_Store", "__MACOSX", ".AppleDouble", ".AppleDB", ".AppleDesktop", ".LSOverride", ".localized", ".apdisk"),
    *(".Spotlight-V100", ".Trashes", ".fseventsd", ".TemporaryItems", ".DocumentRevisions-V100", ".VolumeIcon.icns"),
    *(
        ".com.apple.timemachine.donotpresent",
        "Network Trash Folder",
        "Temporary Items",
        "Icon\r",
        ".metadata_never_index",
    ),
    # Windows
    *("Thumbs.db", "Thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$RECYCLE.BIN"),
    *("System Volume Information", "Folder.htt", "autorun.inf"),
    # Jupyter and Python
    *(".ipynb_checkpoints", "__pycache__", ".virtual_documents"),
    # network storage and file systems
    *("@eaDir", "@tmp", "@Recycle", "@Recently-Snapshot", ".@__thumb", ".@upload_cache", "#recycle", "#snapshot"),
    *(".snapshot", ".snapshots", ".zfs", "lost+found", ".Trash", ".recycle", ".nfs", ".lustre"),
    # desktops, viewers and synchronisers
    *(".directory", ".thumbnails", ".picasa.ini", "Picasa.ini", ".picasaoriginals", ".dropbox", ".dropbox.cache"),
    *(".dropbox.attr", ".stfolder", ".stversions", ".stignore", ".sync", ".owncloudsync.log", ".BridgeSort"),
    *(".BridgeCache", ".BridgeCacheT", ".BridgeLabelsAndRatings", ".nomedia", ".hidden", ".xvpics"),
    # version control, editors and data tools
    *(".git", ".gitignore", ".gitattributes", ".gitkeep", ".gitmodules", ".keep", ".svn", ".hg", ".bzr"),
    *(".idea", ".vscode", ".editorconfig", ".cache", ".huggingface", ".locks", ".dvc", ".dvcignore", ".ruff_cache"),
)
PATTERNS: Final = (
    r"\._.*",  # AppleDouble: the attributes of the file of that name
    r"\.nfs[0-9a-f]+",  # removed on a server while it was open
    r"\.fuse_hidden[0-9a-f]+",
    r"\.smbdelete[0-9a-f]+",
    r"\.Trash-[0-9]+",
    r".*@SynoEAStream|.*@SynoResource|SYNOFILE_THUMB.*",
    r".*:Zone\.Identifier|.*:com\.dropbox\..*",
    r"~\$.*",  # the lock of an office program
    r".*~|#.*#|\.#.*",  # backups and locks of Emacs and others
    r"\..*\.sw[a-p]|.*\.kate-swp",  # Vim and Kate
    r"\.~lock\..*#",
    r"\.syncthing\..*|~syncthing~.*|\.goutputstream-.*",
)
_NAMES: Final = frozenset(name.casefold() for name in NAMES)
_ODD: Final = re.compile(
    r"\A\.|\Asynofile|[~#@:]|kate-swp\Z"
)  # no other name fits a pattern, and millions are asked for
_PATTERN: Final = re.compile("|".join(PATTERNS), re.IGNORECASE)


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name was made by no user and holds no data; upper and lower case are alike."""
    folded = name.casefold()
    return folded in _NAMES or (_ODD.search(folded) is not None and _PATTERN.fullmatch(name) is not None)


def in_junk(path: str) -> bool:
    """Whether a path with slashes, such as the name of an archive's member, is junk or lies in a folder that is."""
    return any(map(is_junk, PurePosixPath(path).parts))
