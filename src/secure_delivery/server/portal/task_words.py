"""What tasks are for, in a few words each, and under which heading people look for them.

Knows: names of tasks that plugins of this project offer. Must not know: what a task takes, which are installed; a task that has
no words here goes under its plugin's name.
"""

from __future__ import annotations

from collections.abc import Mapping

SIZE, COLOUR, EFFECT, FRAME = "Size and shape", "Colours and light", "Effects", "Frames"
SEVERAL, FACES, FORMAT, DOCUMENTS = "Several files", "Faces", "Format and weight", "Documents"
WEB, FACTS, VIDEO = "Web", "What is in it", "Video and sound"

#: Headings, in the order in which they are shown; those of other plugins come after them.
GROUPS = (SIZE, COLOUR, EFFECT, FRAME, FORMAT, DOCUMENTS, FACES, SEVERAL, FACTS, WEB, VIDEO)

WORDS: Mapping[str, tuple[str, str]] = {
    "resize": (SIZE, "To a width, a height, or both."),
    "crop": (SIZE, "A rectangle cut out: x, y, width, height in pixels."),
    "smart_crop": (SIZE, "The part that matters, in the size you want."),
    "rotate": (SIZE, "Clockwise by whole degrees, or upright as the camera noted."),
    "flip": (SIZE, "Top to bottom."),
    "flop": (SIZE, "Left to right."),
    "circle": (SIZE, "The circle that fits into the picture."),
    "rounded_corners": (SIZE, "Quarter circles at the corners."),
    "round_corners": (SIZE, "The same as rounded_corners, under another name."),
    "upscale": (SIZE, "Twice the size, with less noise."),
    "monochrome": (COLOUR, "Shades of grey."),
    "blackwhite": (COLOUR, "Black and white, nothing between."),
    "sepia": (COLOUR, "Brown like an old print."),
    "negative": (COLOUR, "Every colour by its opposite."),
    "modulate": (COLOUR, "Brightness, saturation and hue."),
    "enhance": (COLOUR, "Corrected by what is in the picture."),
    "redeye": (COLOUR, "Red pupils made dark."),
    "blur": (EFFECT, "Out of focus."),
    "sharpen": (EFFECT, "More contrast at edges."),
    "pixelate": (EFFECT, "Coarse squares."),
    "oil_paint": (EFFECT, "Strokes of a brush."),
    "partial_blur": (EFFECT, "Rectangles out of focus."),
    "partial_pixelate": (EFFECT, "Rectangles in coarse squares."),
    "ascii": (EFFECT, "A page of letters."),
    "vignette": (EFFECT, "Fades towards the corners."),
    "border": (FRAME, "A line around it."),
    "shadow": (FRAME, "A shadow behind it."),
    "polaroid": (FRAME, "An instant print."),
    "torn_edges": (FRAME, "Torn out of paper."),
    "watermark": (SEVERAL, "Another picture on top."),
    "collage": (SEVERAL, "Several pictures on one canvas."),
    "animate": (SEVERAL, "A GIF of several pictures."),
    "zip": (SEVERAL, "All files in one archive."),
    "detect_faces": (FACES, "A frame around each face, or where they are as JSON."),
    "crop_faces": (FACES, "Cut to one face, some or all."),
    "pixelate_faces": (FACES, "Faces in coarse squares."),
    "blur_faces": (FACES, "Faces out of focus."),
    "output": (FORMAT, "Another format; of a document a page as a picture."),
    "auto_image": (FORMAT, "AVIF, WebP or JPEG, whichever the browser can show."),
    "quality": (FORMAT, "How much detail JPEG and WebP keep."),
    "pjpg": (FORMAT, "A JPEG that builds up in passes."),
    "compress": (FORMAT, "Smaller without visible loss."),
    "no_metadata": (FORMAT, "Without what the camera noted."),
    "preview": (DOCUMENTS, "A page to look at the document in a browser."),
    "slide": (DOCUMENTS, "A page that shows it as slides."),
    "pdfinfo": (DOCUMENTS, "Pages and what the file says of itself, as JSON."),
    "pdfconvert": (DOCUMENTS, "Chosen pages, or other paper, as PDF."),
    "pdfcreate": (DOCUMENTS, "One PDF of several documents and pictures."),
    "doc_to_images": (DOCUMENTS, "An archive with a picture of each page."),
    "doc_detection": (DOCUMENTS, "The sheet of paper in a photograph, cut out."),
    "imagesize": (FACTS, "Width and height, as JSON."),
    "exif": (FACTS, "What the camera noted, as JSON."),
    "qr": (FACTS, "The text of a code, or a code of a text."),
    "tags": (FACTS, "What can be seen, as JSON."),
    "sfw": (FACTS, "Whether it is safe for work, as JSON."),
    "ocr": (FACTS, "The text in a picture, as JSON."),
    "caption": (FACTS, "A sentence about a picture, as JSON."),
    "image_sentiment": (FACTS, "The mood of faces, as JSON."),
    "text_sentiment": (FACTS, "The mood of a text, as JSON."),
    "copyright": (FACTS, "Whether a picture is known to be protected, as JSON."),
    "minify_css": (WEB, "A shorter style sheet."),
    "minify_js": (WEB, "A shorter script."),
    "urlscreenshot": (WEB, "A picture of a page elsewhere."),
    "video_convert": (VIDEO, "A video or sound file as another. Becomes a job."),
    "video_playlist": (VIDEO, "A playlist for streaming. Becomes a job."),
}
