"""What of SVG is let through: elements and attributes that draw.

Knows: names of SVG 1.1 and 2 (and of the filter, masking and animation modules). Must not know: how a file is read or written.

Everything that is not listed goes: what runs (`script`, `handler`, attributes that begin with `on`), what embeds another
document (`foreignObject`, `iframe`), what editors add for themselves, and whatever a later standard invents.
"""

from __future__ import annotations

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
XML = "http://www.w3.org/XML/1998/namespace"

_ELEMENTS = """
    svg g defs symbol use switch title desc a style view
    path rect circle ellipse line polyline polygon image
    text tspan textPath tref altGlyph
    linearGradient radialGradient stop pattern clipPath mask marker
    filter feBlend feColorMatrix feComponentTransfer feComposite feConvolveMatrix feDiffuseLighting feDisplacementMap
    feDistantLight feDropShadow feFlood feFuncA feFuncB feFuncG feFuncR feGaussianBlur feImage feMerge feMergeNode
    feMorphology feOffset fePointLight feSpecularLighting feSpotLight feTile feTurbulence
    animate animateColor animateMotion animateTransform set mpath
"""
ELEMENTS = frozenset(_ELEMENTS.split())

#: What draws text: only with one of these are fonts needed.
TEXT = frozenset({"text"})

#: Elements whose text is a style sheet, and those whose text is shown or read out.
STYLE = "style"
ANIMATIONS = frozenset({"animate", "animateColor", "animateMotion", "animateTransform", "set"})

#: Attributes whose value names another thing; only things in the same file, and pictures held in the attribute itself.
LINKS = frozenset({"href"})
EMBEDDING = frozenset({"image", "feImage"})

_ATTRIBUTES = """
    id class style lang tabindex role version baseProfile requiredExtensions requiredFeatures systemLanguage
    x y x1 y1 x2 y2 cx cy r rx ry fx fy fr dx dy width height d points pathLength rotate textLength lengthAdjust
    viewBox preserveAspectRatio zoomAndPan viewTarget transform transform-origin
    method spacing startOffset side path
    offset gradientUnits gradientTransform spreadMethod patternUnits patternContentUnits patternTransform
    clipPathUnits maskUnits maskContentUnits mask-type markerUnits markerWidth markerHeight refX refY orient
    filterUnits primitiveUnits filterRes in in2 result mode type values operator k1 k2 k3 k4 order kernelMatrix divisor bias
    targetX targetY edgeMode kernelUnitLength preserveAlpha surfaceScale diffuseConstant specularConstant specularExponent
    limitingConeAngle pointsAtX pointsAtY pointsAtZ azimuth elevation z scale xChannelSelector yChannelSelector stdDeviation
    radius baseFrequency numOctaves seed stitchTiles tableValues slope intercept amplitude exponent
    attributeName attributeType begin dur end min max restart repeatCount repeatDur fill calcMode keyTimes keySplines
    keyPoints from to by additive accumulate origin
    media title
    alignment-baseline baseline-shift clip clip-path clip-rule color color-interpolation color-interpolation-filters
    color-profile color-rendering cursor direction display dominant-baseline enable-background fill-opacity fill-rule filter
    flood-color flood-opacity font font-family font-feature-settings font-kerning font-size font-size-adjust font-stretch
    font-style font-variant font-variant-caps font-variant-ligatures font-variant-numeric font-variation-settings font-weight
    glyph-orientation-horizontal glyph-orientation-vertical image-rendering inline-size isolation kerning letter-spacing
    lighting-color line-height marker marker-end marker-mid marker-start mask mix-blend-mode opacity overflow paint-order
    pointer-events shape-image-threshold shape-inside shape-margin shape-padding shape-rendering shape-subtract stop-color
    stop-opacity stroke stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin stroke-miterlimit stroke-opacity
    stroke-width text-align text-align-last text-anchor text-decoration text-decoration-color text-decoration-line
    text-decoration-style text-indent text-orientation text-overflow text-rendering text-transform unicode-bidi
    vector-effect vertical-align visibility white-space word-spacing writing-mode
"""
ATTRIBUTES = frozenset(_ATTRIBUTES.split())
