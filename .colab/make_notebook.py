"""Make zi2zi.ipynb, the notebook for Colab, of the cells below.

    python .colab/make_notebook.py

It is made by a script so that it can be read, changed and tested as code. ADDRESS is where the repository lies.
"""

import json
from pathlib import Path

ADDRESS = "https://github.com/OWNER/zi2zi"  # the one place for it, beside the badges of the READMEs
HERE = Path(__file__).resolve().parent

INTRODUCTION = """# zi2zi

用您畫的幾十到幾百個字，畫出整套字型。依序執行以下各格；斷線之後，從頭再執行一次，訓練會接著做。

Draw a whole font from some dozens or hundreds of your glyphs. Run the cells in order; after a disconnect run them
again, and the training goes on where it was.

*執行階段 → 變更執行階段類型 → T4 GPU*, *Runtime → Change runtime type → T4 GPU*: much faster, but it works without.
"""

SETTINGS = """#@title 1. 設定 Settings
#@markdown 實驗存放的資料夾 Folder for the experiment (on your Drive)
FOLDER = "/content/drive/MyDrive/zi2zi"  #@param {type:"string"}
#@markdown 來源字型，每個要畫的字都要有；空白：Noto Sans CJK TC。
#@markdown Source font, which has every character; empty: Noto Sans CJK TC
SOURCE = ""  #@param {type:"string"}
#@markdown 您的字型（.ttf、.otf），或字圖的資料夾；空白：內附的楷體。
#@markdown Your font, or a folder of glyph pictures; empty: the bundled kai
TARGET = ""  #@param {type:"string"}
#@markdown 要畫的字 Characters to draw
CHARSET = "big5_1"  #@param ["big5_1", "big5", "big5+hkscs", "source"] {allow-input: true}
#@markdown 訓練幾分鐘；0：由程式決定。Minutes to train; 0: as the program has it
MINUTES = 0  #@param {type:"number"}
#@markdown train.py 的其他旗標 Further flags of train.py
MORE = ""  #@param {type:"string"}
"""

INSTALL = f'''#@title 2. 安裝 Install
import os, pathlib, shutil, subprocess, sys

def run(*command, allowed=(0,)):
    """Run a command, and show what it says; it has to end with one of the allowed codes."""
    print("$", *command, flush=True)
    pipes = {{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}}
    process = subprocess.Popen([str(part) for part in command], **pipes)
    for line in process.stdout:
        print(line, end="", flush=True)
    if process.wait() not in allowed:
        raise RuntimeError(f"{{command[1]}} 失敗了，請看上面最後一行。It has failed: see the last line above.")

if not pathlib.Path("train.py").is_file():
    if not pathlib.Path("zi2zi").is_dir():
        run("git", "clone", "--depth", "1", "{ADDRESS}", "zi2zi")
    os.chdir("zi2zi")
run(sys.executable, "-m", "pip", "install", "-q", "-r", "requirements.txt")
'''

DRIVE = """#@title 3. 連接 Google Drive，上傳字型或字圖 Connect your Drive, upload a font or pictures
try:
    from google.colab import drive, files
except ImportError:
    drive = files = None  # not on Colab: FOLDER is a folder of this machine
if drive and FOLDER.startswith("/content/drive"):
    drive.mount("/content/drive")
folder = pathlib.Path(FOLDER)
folder.mkdir(parents=True, exist_ok=True)
chosen = folder / "target.txt"  # after a disconnect it is not asked for again
if not TARGET and chosen.is_file():
    TARGET = chosen.read_text("utf-8").strip()
if files and not TARGET and not chosen.is_file():
    print("您的字型，或字圖的 zip；按「取消」則使用內附的字型。")
    print("Your font, or a zip of pictures; cancel takes the bundled font.")
    for name in files.upload():
        shutil.move(name, folder / name)
        TARGET = str(folder / name)
if TARGET.endswith(".zip"):
    pictures = pathlib.Path(TARGET).with_suffix("")
    if not pictures.is_dir():
        shutil.unpack_archive(TARGET, pictures)
    shutil.rmtree(pictures / "__MACOSX", ignore_errors=True)
    inside = list(pictures.iterdir())
    TARGET = str(inside[0] if len(inside) == 1 and inside[0].is_dir() else pictures)
chosen.write_text(TARGET, "utf-8")
print("字型或字圖 Font or pictures:", TARGET or "內附的楷體 the bundled kai")
"""

TRAIN = """#@title 4. 訓練 Train
NOTO = pathlib.Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
experiment = folder / "run"
data = []
if TARGET:
    if not SOURCE and not NOTO.is_file():
        run("apt-get", "-qq", "install", "fonts-noto-cjk")
    kind = "--dst_imgs" if pathlib.Path(TARGET).is_dir() else "--dst_font"
    data = ["--src_font", SOURCE or f"{NOTO}#3", kind, TARGET]
length = ["--max_minutes", MINUTES] if MINUTES else []
begun = any((experiment / "checkpoint").glob("*_state.pth"))
more = ["--resume", "latest"] if begun else data
run(sys.executable, "train.py", "--experiment_dir", experiment, "--g_blur", *more, *length, *MORE.split())
"""

LOOK = """#@title 5. 看看畫得如何 Look
from IPython.display import Image, display
newest = sorted((experiment / "sample").glob("*.png"))[-1]
print("來源、未平均的權重、EMA、目標。Source, raw weights, EMA, target.")
display(Image(str(newest)))
"""

DRAW = """#@title 6. 畫字，做成字型 Draw, and make a font
is_font = bool(TARGET) and not pathlib.Path(TARGET).is_dir()
font = folder / ("Full" + (pathlib.Path(TARGET).suffix if is_font else ".otf"))
wanted = ["--charset", CHARSET] if TARGET else ["--charset", "utils/samples/characters.txt"]
complete = ["--missing", TARGET, "--base", TARGET] if is_font else ["--font_name", "My Font"]
more = ["--suspects", "--skip_exist", "--font_out", font]
infer = [sys.executable, "infer.py", "--experiment_dir", experiment]
run(*infer, *wanted, *complete, *more, allowed=(0, 1))  # 1: what the source lacks is left out
"""

SAVE = """#@title 7. 下載 Download
review = experiment / "infer" / "review.html"
print(font, review, sep="\\n")
if files:
    files.download(str(font))
    files.download(str(review))
"""


CODE = (SETTINGS, INSTALL, DRIVE, TRAIN, LOOK, DRAW, SAVE)


def notebook() -> dict:
    """The notebook, as nbformat 4 has it."""
    cells = [("markdown", INTRODUCTION), *(("code", text) for text in CODE)]
    made = [
        {
            "cell_type": kind,
            "id": f"cell{number}",
            "metadata": {"cellView": "form"} if kind == "code" else {},
            "source": text.splitlines(keepends=True),
            **({"execution_count": None, "outputs": []} if kind == "code" else {}),
        }
        for number, (kind, text) in enumerate(cells)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"accelerator": "GPU", "colab": {"provenance": []}, "kernelspec": kernel}
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


if __name__ == "__main__":
    text = json.dumps(notebook(), ensure_ascii=False, indent=1) + "\n"
    (HERE / "zi2zi.ipynb").write_text(text, encoding="utf-8")
