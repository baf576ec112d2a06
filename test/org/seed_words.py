"""The words that the org's data is made of.

They are chosen to be awkward where real data is: quotes, commas, newlines of
both kinds, other scripts, emoji, text that means something to somebody's
parser (\\N, \\., NULL, =1+1), and the longest values that fit.  None begins
or ends with white space and none is empty, since Salesforce stores neither.
"""

FIRST = ("Ada Ben Carla Dmitri Émile Fatima Gérard Hülya Ingrid João Kenji "
         "Łukasz María Nguyễn Óscar Petra Quentin Renée Søren Tomáš Ursula "
         "Víctor Wei Ximena Yūko Zoë Anne-Marie D’Arcy Mary Robert James "
         "Patricia John Jennifer Michael Linda 美咲 太郎 Ольга Αλέξανδρος "
         "עדי ليلى").split()
LAST = ["Diaz", "Müller", "O'Neil", "d'Angelo", "Smith", "Jones", "Brown",
        "García", "Nguyễn", "Kowalski", "Åström", "van der Berg",
        "Smith, Jr.", "Øvergård", "Ferreira", "Dvořák", "Żółć", "Ivanova",
        "Papadopoulos", "Yamamoto", "佐藤", "李", "Смирнов", "Παπαδάκης",
        "כהן", "النجار", "MacDonald", "St. John", "Null", "True", "Lee",
        "Martin", "Wilson", "Anderson", "Taylor", "Moore", "Thompson"]
COMPANY = ["Initech", "Globex, Inc.", 'The "Best" Bakery', "Acme",
           "Umbrella & Sons", "Hooli", "Søstrene Grene A/S",
           "Müller GmbH & Co. KG", "O'Brien, O'Brien & Daughters",
           "株式会社山本製作所", "Café «Les Deux Amis»", "NULL Industries",
           "Stark; Wayne", "Vandelay Imports\\Exports", "=Sum Ltd",
           "Soylent 🌱", "Wonka 🍫 Sweets", "Cyberdyne Systems",
           "ООО «Ромашка»", "Tab\tand Spaces", "100% Wool", "A_B_C",
           "Pied Piper", "Wernham Hogg", "Dunder Mifflin Paper Company"]
TITLE = [None, "CEO", "CTO", "VP, Sales", "Director of “Special” Projects",
         "Engineer", "Buyer", "Head of R&D", "Leiterin Einkauf", "\\N",
         "NULL", "部長", "Assistant\tto the Manager", "x" * 80,
         "Owner / Partner", "QA", "Accountant"]
# Street, city, state, postal code, country, latitude, longitude
PLACE = [
    ("123 Nowhere St.", "Orlando", "FL", "32801", "US", 28.5383, -81.3792),
    ("1 Market St\nSuite 300", "San Francisco", "CA", "94105", "US",
     37.793923, -122.395133),
    ("Hauptstraße 7", "Köln", "NRW", "50667", "Germany", 50.937531, 6.960279),
    ("Apt 4B\r\n350 5th Ave", "New York", "NY", "10118", "US", 40.748817,
     -73.985428),
    ("12, rue de l'Église", "Liège", None, "4000", "Belgium", None, None),
    ("丸の内1-1-1", "千代田区", "東京都", "100-0005", "Japan", 35.681236,
     139.767125),
    ('"The Old Mill", Mill Lane', "York", "North Yorkshire", "YO1 7HF", "UK",
     53.959965, -1.087298),
    (None, "São Paulo", "SP", "01310-100", "Brazil", -23.561414, -46.655881),
    ("P.O. Box 9", "Reykjavík", None, "101", "Iceland", 64.146582,
     -21.942635),
    (None, None, None, None, None, None, None),
    ("Ulica Długa 5/7", "Kraków", "Małopolskie", "31-147", "Poland", None,
     None),
    ("Level 12, 1 Macquarie Pl", "Sydney", "NSW", "2000", "Australia",
     -33.863276, 151.208943),
]
DESCRIPTION = [
    None, None, None, None, None, None,
    "Met at the fair.", "Called twice, no answer",
    'Said: "Call me, maybe", then hung up',
    "First line\nSecond line\n\nFourth line",
    "Windows line\r\nand another", "Prices in € and ¥; 50 % off",
    "👍 very interested 🚀", "Zażółć gęślą jaźń", "日本語の説明文です。",
    "a\\b\\\\c \\n is not a newline", "{\"json\": [1, 2, null]}",
    "<p>Not <b>HTML</b> &amp; not escaped</p>", "'; DROP TABLE lead; --",
    "pasted:\n\\.\nafter the end", "ends with a quote\"", "\"", "\"\"",
    ",", "comma,\"quote\",newline\n,", ("Lorem ipsum dolor sit amet, " * 30).strip(),
    "e\u0301 is not \u00e9", "zero\u200bwidth and \u2028separators",
    "#not-available", "true", "0", "1.0E7",
]
SUBJECT = ["Call", "Email", "Send Letter", "Send Quote", "Other",
           "Re: your \"offer\"", "Follow up, please", "Réunion",
           "打ち合わせ", "Demo 🎉", "Lunch\\Dinner"]
CAMPAIGN = ["Spring Webinar", "Trade Show, Hannover", "\"Early Bird\" Offer",
            "Newsletter № 7", "Frühjahrsaktion", "春のキャンペーン",
            "Partners & Friends", "Direct Mail 50%", "Road Show 🚌"]
MACHINE = ["Pump", "Valve", "Filter; fine", "Sensor \"X\"", "Kompressor",
           "ポンプ", "Mixer, large", "Turbine"]
