"""The wordings from which the demo's customer messages are put together: a part for training, one for the test.

No greeting, sentence, urgency phrase or closing of the test part occurs in the training part, so a model that scores
well on the test has learned the task and not the sentences. The test phrases paraphrase the training phrases and share
words with them, as the messages of tomorrow share words with those of today.
"""

from __future__ import annotations

from dataclasses import dataclass

PRODUCTS: tuple[tuple[str, str], ...] = (
    ("desk lamp", "desk lamps"),
    ("office chair", "office chairs"),
    ("standing desk", "standing desks"),
    ("filing cabinet", "filing cabinets"),
    ("wall shelf", "wall shelves"),
    ("storage box", "storage boxes"),
    ("coat rack", "coat racks"),
    ("floor mat", "floor mats"),
    ("whiteboard", "whiteboards"),
    ("paper shredder", "paper shredders"),
    ("label printer", "label printers"),
    ("laser printer", "laser printers"),
    ("wireless mouse", "wireless mice"),
    ("keyboard", "keyboards"),
    ("webcam", "webcams"),
    ("headset", "headsets"),
    ("monitor arm", "monitor arms"),
    ("laptop stand", "laptop stands"),
    ("power strip", "power strips"),
    ("phone charger", "phone chargers"),
    ("memory card", "memory cards"),
    ("backpack", "backpacks"),
    ("travel mug", "travel mugs"),
    ("water bottle", "water bottles"),
    ("coffee grinder", "coffee grinders"),
    ("electric kettle", "electric kettles"),
    ("toaster", "toasters"),
    ("frying pan", "frying pans"),
    ("kitchen knife", "kitchen knives"),
    ("cutting board", "cutting boards"),
    ("bath towel", "bath towels"),
    ("pillow", "pillows"),
    ("wool blanket", "wool blankets"),
    ("yoga mat", "yoga mats"),
    ("bike helmet", "bike helmets"),
    ("rain jacket", "rain jackets"),
    ("garden hose", "garden hoses"),
    ("paint brush", "paint brushes"),
    ("tool kit", "tool kits"),
    ("picture frame", "picture frames"),
)
"""The catalogue: the name that the answer gives, and its plural."""


@dataclass(frozen=True, slots=True)
class Wording:
    """One part's phrases; a message is made of one of each, chosen independently.

    Attributes:
        greetings: Beginnings; an empty one is left out of the message, as everywhere below.
        sentences: Templates with the fields `{order}`, `{items}` and `{date}`, each once.
        urgency: Phrases for each value of the answer's field `urgency`.
        closings: Endings.
    """

    greetings: tuple[str, ...]
    sentences: tuple[str, ...]
    urgency: dict[str, tuple[str, ...]]
    closings: tuple[str, ...]


TRAIN = Wording(
    greetings=(
        "",
        "",
        "Hi,",
        "Hello,",
        "Hi there,",
        "Hello team,",
        "Good morning,",
        "Dear support,",
        "Dear Sir or Madam,",
        "Hey,",
        "To the sales team:",
        "Hello from Leeds,",
    ),
    sentences=(
        "I ordered {items} under {order}, to be delivered on {date}.",
        "Please change order {order} to {items}, delivery on {date}.",
        "Order {order} should contain {items} and arrive by {date}.",
        "My order {order} of {items} was due on {date}.",
        "We paid for {items} on {date}, order number {order}.",
        "On {date} I bought {items} from you (order {order}).",
        "Could you check order {order}? It lists {items} for {date}.",
        "{order}: please ship {items} on {date}.",
        "We would like {items} added to {order} before {date}.",
        "I want to return {items} from order {order}, bought on {date}.",
        "Regarding {order}: {items} did not come on {date}.",
        "Can you move {order} to {date}? It is for {items}.",
        "Please cancel {items} in order {order} of {date}.",
        "You sent {items} on {date}, but I never placed order {order}.",
        "The invoice for {order} dated {date} shows {items}.",
        "I am still waiting for {items}. The order is {order}, placed on {date}.",
        "For our event on {date} we need {items}, see {order}.",
        "By {date} we must have {items}. Our reference is {order}.",
        "Where is my parcel with {items}? Order {order}, promised for {date}.",
        "I received {items} broken on {date}, order {order}.",
        "Please deliver {items} to our new address on {date}, reference {order}.",
        "Order {order} from {date} came without {items}.",
        "My colleague placed {order} on {date} and asked for {items}.",
        "Please book {items} for {date} and add it to order {order}.",
        "Since {date} I have been missing {items} from {order}.",
        "We exchanged {items} on {date}. The old order was {order}.",
        "Please repeat order {order}: {items}, arriving {date}.",
        "Number {order}, date {date}: I only see {items} in the cart.",
        "The shop confirmed {items} for {date}. My order number is {order}.",
        "{items}, order {order}, wanted on {date}.",
        "I need {items} on {date}, please look up {order}.",
        "Can {order} be split? Send {items} on {date} and the rest later.",
        "According to {order}, {items} will be picked up on {date}.",
        "Please refund {items}. I paid on {date} with order {order}.",
        "The courier lost {items} on {date}, tracking says {order}.",
        "Add {items} to my order {order} and deliver on {date}.",
    ),
    urgency={
        "high": (
            "I need this urgently.",
            "This is urgent.",
            "Please hurry.",
            "As soon as possible, please.",
            "It cannot wait.",
            "Please treat this as top priority.",
            "We need it right away.",
            "This is an emergency for us.",
            "I need an answer immediately.",
            "Please act at once.",
            "The matter is very pressing.",
            "Time is running out.",
            "Please be as quick as you can.",
            "We need help right now.",
        ),
        "normal": (
            "",
            "",
            "Thanks for your help.",
            "Please confirm by email.",
            "Standard handling is fine.",
            "Please handle it as usual.",
            "The usual delivery is fine.",
            "A normal reply time is fine.",
            "Please let me know if anything is missing.",
            "Please send me a confirmation.",
            "The regular schedule works for us.",
            "Please send the invoice too.",
            "I look forward to your reply.",
            "Thank you for checking.",
        ),
        "low": (
            "There is no rush.",
            "Take your time.",
            "No hurry at all.",
            "It is not urgent.",
            "Whenever it suits you.",
            "This can wait.",
            "It has low priority for us.",
            "A reply next month is early enough.",
            "Any time is fine.",
            "You do not need to hurry.",
            "We have plenty of time.",
            "Answer whenever you can.",
            "I am in no hurry.",
            "Nothing urgent.",
        ),
    },
    closings=(
        "",
        "",
        "",
        "Thanks, Maria",
        "Best regards, Tom",
        "Kind regards, Aisha",
        "Regards, J. Novak",
        "Best, Li Wei",
        "Cheers, Sam",
    ),
)

TEST = Wording(
    greetings=(
        "",
        "Good day,",
        "Greetings,",
        "Hello again,",
        "Dear customer service,",
        "Good evening everyone,",
        "Hi folks,",
    ),
    sentences=(
        "My purchase {order} with {items} has to reach us on {date}.",
        "Please look into {order}. We asked for {items} on {date}.",
        "I placed an order for {items} on {date}; its number is {order}.",
        "About order {order}: I expected {items} on {date}.",
        "Could you send {items} on {date}? It belongs to order {order}.",
        "Instead of the original order {order} we now want {items} on {date}.",
        "We are short of {items} since the delivery of {date}, see order {order}.",
        "{date} was the promised day for {items}, order {order}.",
        "Kindly reserve {items} for {date} under number {order}.",
        "I would like to send back {items}; order {order} arrived on {date}.",
        "Your driver brought {items} on {date}, which is not what {order} says.",
        "Is {order} on its way? It was {items}, expected {date}.",
        "Please replace {items} from my order {order}, delivered {date}.",
        "Our meeting is on {date}, so we requested {items} with {order}.",
    ),
    urgency={
        "high": (
            "Urgent, please answer today!",
            "It really is urgent, we need it immediately.",
            "Please reply as soon as you can, this cannot wait any longer.",
            "Top priority, hurry up please.",
            "We need a solution right away, please.",
            "Do this at once, time is short.",
            "For us this is a pressing emergency.",
        ),
        "normal": (
            "",
            "Thank you, and please send us a confirmation.",
            "The usual handling works for us.",
            "Standard delivery as usual, please.",
            "Please let us know by email.",
            "The normal schedule is fine.",
            "Thanks for looking into it.",
        ),
        "low": (
            "No rush at all, please take your time.",
            "It can wait, it is not urgent at all.",
            "There is no hurry, answer any time.",
            "This is low priority, we have time.",
            "Whenever you have time is fine.",
            "You need not hurry with this.",
            "We are in no rush.",
        ),
    },
    closings=(
        "",
        "",
        "Many thanks, Elena",
        "Yours, Mr Okafor",
        "Sincerely, Chen Jie",
        "Warm regards, Paul",
    ),
)
