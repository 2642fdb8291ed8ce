"""Samples of published datasets, in the shape of their cards; the content is invented."""

from __future__ import annotations

import gzip
import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

T = TypeVar("T")
Feature = Any
Row = dict[str, Any]


def _spaced(text: str) -> list[str]:
    return text.split()


# ---------------------------------------------------------------------------------------------- features


def _value(dtype: str) -> Feature:
    return {"dtype": dtype, "_type": "Value"}


def _list(feature: Feature) -> Feature:
    return {"feature": feature, "_type": "List"}


def _classes(names: Sequence[str]) -> Feature:
    return {"names": list(names), "_type": "ClassLabel"}


_S = _value("string")
_TURNS = _list({"content": _S, "role": _S})
_FROM_VALUE = _list({"from": _S, "value": _S})
_CHOICES_TEXT_LABEL = {"text": _list(_S), "label": _list(_S)}
_QA = {
    "id": _S,
    "title": _S,
    "context": _S,
    "question": _S,
    "answers": {"text": _list(_S), "answer_start": _list(_value("int32"))},
}

_PARAMETERS = {"type": _S, "properties": {"_type": "Json"}, "required": _list(_S)}
_FUNCTION = {"name": _S, "description": _S, "parameters": _PARAMETERS}
_BFCL = {"id": _S, "question": _list(_list({"role": _S, "content": _S})), "function": _list(_FUNCTION)}

EMOTIONS = _spaced("""
admiration amusement anger annoyance approval caring confusion curiosity desire disappointment disapproval
disgust embarrassment excitement fear gratitude grief joy love nervousness optimism pride realization relief
remorse sadness surprise neutral
""")
SCENARIOS = _spaced("""
social transport calendar play news datetime recommendation email iot general audio lists qa cooking
takeaway music alarm weather
""")
INTENTS = _spaced("""
datetime_query iot_hue_lightchange transport_ticket takeaway_query qa_stock general_greet
recommendation_events music_dislikeness iot_wemo_off cooking_recipe qa_currency transport_traffic
general_quirky weather_query audio_volume_up email_addcontact takeaway_order email_querycontact
iot_hue_lightup recommendation_locations play_audiobook lists_createoradd news_query alarm_query iot_wemo_on
general_joke qa_definition social_query music_settings audio_volume_other calendar_remove iot_hue_lightdim
calendar_query email_sendemail iot_cleaning audio_volume_down play_radio cooking_query datetime_convert
qa_maths iot_hue_lightoff iot_hue_lighton transport_query music_likeness email_query play_music
audio_volume_mute social_post alarm_set qa_factoid calendar_set play_game alarm_remove lists_remove
transport_taxi recommendation_movies iot_coffee music_query play_podcasts lists_query
""")

#: The features of each sample, as `datasets.load_dataset(...)["train"].features.to_dict()` gives them today.
#: A parquet file's own metadata has the same features as its card's file spells them: see `published`.
FEATURES: dict[str, dict[str, Feature]] = {
    "snli": {"premise": _S, "hypothesis": _S, "label": _classes(["entailment", "neutral", "contradiction"])},
    "squad": _QA,
    "squad_v2": _QA,
    "arc_challenge": {"id": _S, "question": _S, "choices": _CHOICES_TEXT_LABEL, "answerKey": _S},
    "winogrande": {"sentence": _S, "option1": _S, "option2": _S, "answer": _S},
    "winogrande_jsonl": {"qID": _S, "sentence": _S, "option1": _S, "option2": _S, "answer": _S},
    "alpaca": {"instruction": _S, "input": _S, "output": _S},
    "alpaca_hub": {"instruction": _S, "input": _S, "output": _S, "text": _S},
    "ultrachat_200k": {"prompt": _S, "prompt_id": _S, "messages": _TURNS},
    "ultrafeedback_binarized": {
        "prompt": _S,
        "prompt_id": _S,
        "chosen": _TURNS,
        "rejected": _TURNS,
        "messages": _TURNS,
        "score_chosen": _value("float64"),
        "score_rejected": _value("float64"),
    },
    "bfcl_simple": _BFCL,
    "bfcl_multiple": _BFCL,
    "bfcl_parallel": _BFCL,
    "sharegpt": {"id": _S, "conversations": _FROM_VALUE},
    "sharegpt_tools": {"conversations": _FROM_VALUE, "system": _S, "tools": _S},
    "go_emotions": {"text": _S, "labels": _list(_classes(EMOTIONS)), "id": _S},
    "massive": {
        "id": _S,
        "locale": _S,
        "partition": _S,
        "scenario": _classes(SCENARIOS),
        "intent": _classes(INTENTS),
        "utt": _S,
        "annot_utt": _S,
        "worker_id": _S,
        "slot_method": {"slot": _list(_S), "method": _list(_S)},
        "judgments": {
            "worker_id": _list(_S),
            "intent_score": _list(_value("int8")),
            "slots_score": _list(_value("int8")),
            "grammar_score": _list(_value("int8")),
            "spelling_score": _list(_value("int8")),
            "language_identification": _list(_S),
        },
    },
    "massive_jsonl": dict.fromkeys(
        _spaced("id locale partition scenario intent utt annot_utt worker_id"), _S
    ),
    "commonsense_qa": {
        "id": _S,
        "question": _S,
        "question_concept": _S,
        "choices": {"label": _list(_S), "text": _list(_S)},
        "answerKey": _S,
    },
    "commonsense_qa_jsonl": {
        "answerKey": _S,
        "id": _S,
        "question": {"question_concept": _S, "choices": _list({"label": _S, "text": _S}), "stem": _S},
    },
    "hh_rlhf": {"chosen": _S, "rejected": _S},
    "kto": {"prompt": _S, "completion": _S, "label": _value("bool")},
    "kto_chat": {"prompt": _TURNS, "completion": _TURNS, "label": _value("bool")},
    "tool_chat": {
        "messages": _list({"_type": "Json"}),
        "tools": _list({"type": _S, "function": _FUNCTION}),
        "parallel_tool_calls": _value("bool"),
    },
    "tool_chat_hub": {
        "messages": _list(
            {
                "role": _S,
                "content": _S,
                "tool_calls": _list({"id": _S, "type": _S, "function": {"name": _S, "arguments": _S}}),
                "tool_call_id": _S,
            }
        ),
        "tools": _S,
    },
    "reasoning_think": {"messages": _TURNS, "num_tokens": _value("int64"), "source": _S},
    "reasoning_content": {"messages": _list({"content": _S, "reasoning_content": _S, "role": _S})},
}

#: Cards whose files were written by datasets 4 or later, which spells a list `List`.
_NEW_SPELLING = {"tool_chat_hub", "reasoning_content"}
_ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}


def _older(feature: Feature) -> Feature:
    """The spelling of datasets 2 and 3: `Sequence`, and a bare JSON list for a list of structs."""
    kind = feature.get("_type")
    if kind == "List":
        inner = feature["feature"]
        if "_type" in inner:
            return {"feature": _older(inner), "_type": "Sequence"}
        return [{key: _older(item) for key, item in inner.items()}]
    if kind is not None:
        return feature
    if all(item.get("_type") == "List" for item in feature.values()):
        return {
            "feature": {key: _older(item["feature"]) for key, item in feature.items()},
            "_type": "Sequence",
        }
    return {key: _older(item) for key, item in feature.items()}


def published(name: str) -> dict[str, Feature]:
    """The features as the metadata of the published parquet file spells them."""
    features = FEATURES[name]
    return features if name in _NEW_SPELLING else {key: _older(item) for key, item in features.items()}


def _arrow(feature: Feature) -> pa.DataType:
    kind = feature.get("_type")
    if kind == "Value":
        return _ARROW[feature["dtype"]]
    if kind == "ClassLabel":
        return pa.int64()
    if kind == "List":
        return pa.list_(_arrow(feature["feature"]))
    return pa.struct([pa.field(key, _arrow(item)) for key, item in feature.items()])


def _parquet(name: str, path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    info = orjson.dumps({"info": {"features": published(name)}})
    fields = [pa.field(key, _arrow(item)) for key, item in FEATURES[name].items()]
    schema = pa.schema(fields, metadata={b"huggingface": info})
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return path


def _lines(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def _array(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(list(rows), option=orjson.OPT_INDENT_2))
    return path


def _cut(rows: Sequence[T], train: int) -> list[Sequence[T]]:
    """Train, then two equal parts."""
    rest = (len(rows) - train) // 2
    return [rows[:train], rows[train : train + rest], rows[train + rest :]]


def _total(rows: int, parts: int) -> int:
    return rows + parts * max(3, rows // 6)


# ------------------------------------------------------------------------------------------------- words


class _Pen:
    """A seeded writer that draws from a list without repeating before the list is used up."""

    def __init__(self, name: str, seed: int) -> None:
        self.random = random.Random(f"{name}/{seed}")
        self._decks: dict[int, tuple[Sequence[Any], list[Any]]] = {}

    def draw(self, words: Sequence[T]) -> T:
        _, deck = self._decks.setdefault(id(words), (words, []))
        if not deck:
            deck.extend(words)
            self.random.shuffle(deck)
        word: T = deck.pop()
        return word

    def some(self, words: Sequence[T], count: int) -> list[T]:
        """`count` different ones."""
        found: list[T] = []
        while len(found) < count:
            word = self.draw(words)
            if word not in found:
                found.append(word)
        return found

    def number(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def hex(self, length: int) -> str:
        return f"{self.random.getrandbits(4 * length):0{length}x}"

    def fill(self, text: str) -> str:
        """The text with {name}, {place}, {thing}, ... drawn."""

        def word(match: re.Match[str]) -> str:
            drawn = self.draw(_WORDS[match[2]])
            return drawn if match[1] is None else match[1][0] + _a(drawn)[1:]

        return re.sub(r"(\b[Aa] )?\{(name|place|thing|role|spot|time|day|river)\}", word, text)


def _a(words: str) -> str:
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tables(text: str) -> list[list[list[str]]]:
    """One table a paragraph."""
    return [_rows(table) for table in text.split("\n\n")]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.replace("\n", " ").split("|")]


def _rows(text: str) -> list[list[str]]:
    """One row a line, its parts between bars; a line that begins with a blank goes on with the row."""
    return [_words(line) for line in text.strip("\n").replace("\n ", " ").split("\n")]


_NAMES = _spaced("""
Aisha Albin Amara Anders Beatriz Bogdan Camille Carys Daria Dmitri Elif Emeka Farah Felix Greta Gustavo Hana
Henrik Imani Ivo Jasmin Joaquin Kaito Katya Leila Lorcan Maren Mateus Nadia Nils Oksana Omar Petra Piotr
Quinn Rafael Rosalind Samir Signe Tadeo Thandi Ulla Viktor Wanda Xavier Yara Yusuf Zofia
""")
_PLACES = _words("""
Harlow Bend | Ørsund | Kestrel Quay | Saint-Éloi | Dunmarrow | Łazisko | Pinehollow | Vallø | Brackwater |
Tessaly Point | Morrowfield | Quillhaven | Ashby Falls | Corvanne | Old Tilbrook | Zellerau | Fennick |
Marisol Bay | Grimsdale | Hollin Cross | Pelham Sands | Rosvik | Tarn Abbey | Wexcombe | Nueva Ribera |
Lindqvist Ferry | Amber Locks | Cold Harrow | Dervish Hill | Ennismoor | Farrowgate | Gull Rock | Ironmere |
Juniper Flats | Kilnsby | Larkspur | Mosswick | Netherby Green | Otterpool | Penhallow
""")
_ROLES = _spaced("""
baker plumber pilot nurse gardener librarian carpenter fisherman teacher tailor welder florist postman
drummer beekeeper cyclist chemist farmer painter referee surveyor tourist vet waiter archivist blacksmith
chef diver electrician firefighter geologist hiker juggler locksmith mechanic photographer sculptor shepherd
translator violinist
""")
_LOOKS = _words("""
in a green apron | with a silver whistle | wearing striped socks | with a bandaged thumb | in a yellow
raincoat | carrying a canvas bag | wearing two hats | with paint on both sleeves | in muddy boots | with a
long grey scarf | in a borrowed jacket | wearing safety goggles | with a feather in the buttonhole | in a
creased linen suit | with curly red hair | in a purple tracksuit | wearing a name badge | with a wooden cane
| in a knitted jumper | with a pencil behind one ear | in rolled-up trousers | wearing a paper crown | with
a small black dog | in a reflective vest | with very short hair | wearing a lemon-coloured shirt | in a
leather waistcoat | with a folded newspaper | in a wide straw hat | wearing thick mittens
""")
_SPOTS = _words("""
beside a dry fountain | behind the town hall | under a railway arch | at the edge of a pond | on a gravel
path | near the bus shelter | in a narrow courtyard | next to a row of beehives | on the upper deck of a
ferry | between two market stalls | outside the cinema | in front of a brick chimney | on a wooden jetty |
at the top of the stairs | in a crowded canteen | below a stone bridge | along the old city wall | inside a
glass greenhouse | by the open window | on a rooftop terrace | in the middle of a tennis court | opposite
the post office | at a long wooden table | beneath a chestnut tree | in a half-empty car park | on the steps
of a museum | around the corner from the bakery | inside a converted barn | by a frozen canal | at the far
end of the platform
""")
_TIMES = _words("""
just before sunrise | on a windy afternoon | while snow is falling | during the lunch break | late in the
evening | after a heavy shower | at noon | on the first day of spring | while the bells are ringing | in
thick fog | during the harvest fair | on a quiet Sunday | at the end of a long shift | as the street lamps
come on | in the heat of July | before the shops open | during a power cut | on market day | as the tide
goes out | in the first week of school | while a band plays nearby | under a clear sky | on a holiday Monday
| halfway through October
""")
_THINGS = _words("""
ladder | tent | kettle | violin | wheelbarrow | lantern | typewriter | telescope | blanket | toolbox | canoe
| sewing machine | globe | camera | umbrella | chessboard | bicycle pump | cookbook | trombone | picnic
basket | microscope | rucksack | hammock | clock | sledge | fishing rod | vase | mirror | drill | armchair |
paddle | accordion | birdhouse | rug | compass | easel | flute | hedge trimmer | map | stool
""")
_DAYS = _spaced("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_RIVERS = _spaced(
    "Alder Brine Cressa Dorn Elwy Fenna Garrow Hesper Isk Jorva Kelda Lorne Medra Nith Ozen Pell"
)
_WORDS: dict[str, Sequence[str]] = {
    "name": _NAMES,
    "place": _PLACES,
    "thing": _THINGS,
    "role": _ROLES,
    "spot": _SPOTS,
    "time": _TIMES,
    "day": _DAYS,
    "river": _RIVERS,
}
_LEADS = _words("""
{name} is making a poster for the science fair in {place}. | A class in {place} went on a walk last {day}. |
{name} and {name} disagree about a homework question. | The school garden in {place} has a new notice board.
| {name} wrote this in a notebook after the lesson on {day}. | A museum guide in {place} asked the visitors
a riddle. | {name} is helping a younger brother with his revision. | During a quiz night in {place}, the
host read a card. | The {day} club is studying how the world works. | {name} found an old test sheet inside
a {thing}. | A radio programme from {place} ended with a question. | {name}, who is a {role}, gave a talk to
the pupils. | While waiting {spot}, {name} read a leaflet. | A team from {place} is training for a contest.
| {name} is sorting cards into pairs. | The teacher left a {thing} and a note on the desk. | On the way to
{place}, two pupils made up a game. | {name} drew a diagram on the back of a ticket. | A {role} from {place}
is writing a book for children. | Students met {spot} to prepare for {day}.
""")

# ---------------------------------------------------------------------------------------- inference (NLI)

_SCENES = _rows("""
is repairing a bicycle chain | is fixing part of a bicycle | is planning a long ride | is asleep on a sofa
is slicing onions into a pan | is preparing food | is cooking for six guests | is swimming in the sea
is tuning an old guitar | is holding an instrument | is about to give a concert | is mowing a lawn
is feeding a group of ducks | is giving food to birds | comes here every morning | is driving a bus
is stacking crates of apples | is moving fruit | is paid by the hour | is taking a bath
is reading a letter aloud | is speaking | has received good news | is keeping completely silent
is painting a fence white | is using paint | wants to sell the house | is playing table tennis
is chasing a paper kite | is running after something | made the kite at home | is sitting still in a chair
is pouring tea for a stranger | is serving a drink | is waiting for a train | is climbing a cliff
is measuring a wooden beam | is checking a size | is building a shed | is dancing on a stage
is pushing a stalled van | is trying to move a vehicle | has run out of petrol | is lying in bed
is sketching a heron | is drawing an animal | studies art at college | is frying an egg
is untangling a fishing net | is working with a net | caught nothing today | is typing at a keyboard
is planting rows of cabbages | is putting plants in soil | sells vegetables | is flying an aeroplane
is polishing a brass trumpet | is cleaning something | plays in a marching band | is skiing down a slope
is folding clean sheets | is handling cloth | works in a hotel | is rowing a boat
is photographing a rusty tractor | is taking a picture | collects old machines | is having a haircut
is sweeping up broken glass | is tidying the ground | dropped a bottle | is asleep in a hammock
is arguing with a referee | is talking with someone | thinks a rule was broken | is alone and silent
is knitting a tiny sock | is making clothing | is expecting a grandchild | is riding a horse
is carrying a crying child | is holding a child | is looking for a doctor | is diving under water
is lighting a row of candles | is making the place brighter | is preparing a birthday | is playing rugby
is digging a deep trench | is removing earth | is looking for a burst pipe | is watching a film indoors
is weighing bags of flour | is finding out how heavy something is | owns a mill | is ice skating
is hanging posters on a wall | is putting up paper | is running for mayor | is eating soup
is juggling three oranges | is throwing fruit into the air | is practising for a show | is asleep in a tent
is filling in a long form | is writing | is applying for a permit | is jumping on a trampoline
is brushing a white pony | is grooming an animal | will enter a competition | is washing dishes
is loading sacks onto a cart | is lifting heavy things | is late for a delivery | is playing the piano
is whistling a slow tune | is making music | is thinking of an old friend | is drinking from a bottle
is balancing on one leg | is standing on a single foot | is a yoga teacher | is lying flat on the ground
is trimming a tall hedge | is cutting a plant | has hired the tool | is sailing a yacht
is counting coins into piles | is sorting money | is saving for a holiday | is wrestling with a friend
is pitching a blue tent | is setting up a shelter | will stay for a week | is conducting an orchestra
is scrubbing muddy potatoes | is washing vegetables | is making a stew | is parachuting from a plane
is greeting a line of guests | is welcoming people | is getting married today | is hiding in a cupboard
""")


def _inferences(pen: _Pen, count: int, per_premise: int) -> list[Row]:
    rows: list[Row] = []
    while len(rows) < count:
        scene, role = pen.draw(_SCENES), pen.draw(_ROLES)
        look, spot, time = pen.draw(_LOOKS), pen.draw(_SPOTS), pen.draw(_TIMES)
        action = scene[0]
        premise = pen.random.choice(
            [
                f"{_upper(_a(role))} {look} {action} {spot} {time}.",
                f"{_upper(spot)}, {_a(role)} {look} {action} {time}.",
                f"{_upper(time)}, {_a(role)} {look} {action} {spot}.",
            ]
        )
        labels = [0, 1, 2]
        pen.random.shuffle(labels)
        for label in labels[:per_premise]:
            subject = pen.random.choice([f"The {role}", "Somebody", f"A person {look}", f"The person {spot}"])
            if label == 2:
                subject = f"The {role}"
            text = f"{subject} {scene[label + 1]}."
            rows.append(
                {"premise": premise, "hypothesis": text, "label": -1 if len(rows) % 15 == 7 else label}
            )
    return rows[:count]


def snli(folder: Path, rows: int = 60, *, seed: int = 0, per_premise: int = 1) -> Path:
    """SNLI, https://huggingface.co/datasets/stanfordnlp/snli; a label of -1 where no gold label was agreed.

    The published train split has three hypotheses for most premises: give `per_premise=3` for that.
    """
    made = _inferences(_Pen("snli", seed), _total(rows, 2), per_premise)
    for part in _cut(made, rows)[1:]:
        part[1]["label"] = -1
    paths = [
        _parquet("snli", folder / "plain_text" / f"{split}-00000-of-00001.parquet", part)
        for split, part in zip(("train", "validation", "test"), _cut(made, rows), strict=True)
    ]
    return paths[0]


# ------------------------------------------------------------------------------------- reading (SQuAD)

_KINDS = _spaced("""
Bridge Lighthouse Museum Railway Canal Observatory Library Windmill Harbour Theatre Garden Foundry Aqueduct
Market Archive Funicular
""")
_MATERIALS = _words("""
blue slate | riveted iron | pale limestone | larch planks | recycled brick | hammered copper | black basalt
| glazed tiles | rammed earth | green sandstone | oak beams | cast concrete | white marble | woven willow
""")
_OWNERS = _words("""
a cooperative of weavers | the regional water board | a retired sea captain | the guild of clockmakers | a
charity for young sailors | the University of Rosvik | a family of glassblowers | the county fire brigade |
an association of beekeepers | the Hesper Valley Trust | a publisher of atlases | the diocese of Corvanne
""")
_TAILS = ["sson", "ley", "ova", "ini"]
_EVENTS = _words("""
a lantern walk | a raft race | an open-air supper | a kite contest | a poetry marathon | a plant exchange |
a brass band parade | a night of storytelling | a regatta of model boats | a bread festival | a silent film
week | a sheepdog trial | an egg hunt for adults | a chess tournament
""")
_CAUSES = _words("""
a spring flood | a dispute over wages | a colony of bats | a shortage of coal | a lightning strike | a
collapsed culvert | an outbreak of dry rot | a bankrupt contractor | a swarm of hornets | a burst dam
""")
_ASIDES = _words("""
Local children still use its name as a skipping rhyme. | A tin model of it stands in the mayor's office. |
Its plans were lost for decades and turned up in a piano stool. | Photographs of it appear on the town's
stamps. | Swallows nest there from April onwards. | A plaque near the entrance lists the people who worked
on it. | Visitors often remark on the smell of pine tar. | The first poster advertising it spelled the name
wrongly. | A novel about smugglers is partly set there. | It has its own brand of marmalade. | Residents
voted twice on whether to repaint it. | An echo inside repeats a word up to four times. | The surrounding
meadow is mown only once a year. | Its bell is rung by hand at noon. | A retired teacher leads the tours. |
The staircase has an odd number of steps on purpose. | School classes from three valleys come in June. | A
film crew once covered it in artificial snow. | Nobody knows who carved the owl above the gate. | The gift
shop sells pencils made from old railings. | In winter the roof is lit with strings of amber lamps. | Its
café serves a soup named after the first cook. | A time capsule is buried under the threshold. | Engineers
from abroad come to study the joints.
""")
# Three ways to state it, two ways to ask for it, what the answer is drawn from.
_FACTS = _rows("""
The doors were opened in {v}. | It has been in use since {v}. | Use of the site began in {v}. | In which
 year did {n} come into use? | Since when has {n} been in use? | year
Its designer was {v}. | The drawings were made by {v}. | It was designed by {v}, then almost unknown. | Who
 designed {n}? | Which person made the drawings for {n}? | person
Building it cost {v}. | The council paid {v} for the work. | The final bill came to {v}. | How much did it
 cost to build {n}? | What was the final bill for {n}? | money
At its tallest point it measures {v}. | It rises to a height of {v}. | It stands {v} high. | How tall is
 {n}? | What height does {n} reach? | height
Most of it is made of {v}. | The main material is {v}. | The outer walls are of {v}. | What is {n} mostly
 made of? | Which material was mainly used for {n}? | material
Every year {v} people come to see it. | It receives {v} visitors a year. | Yearly, {v} tickets are sold. |
 How many people visit {n} in a year? | What is the yearly number of visitors to {n}? | count
Today it belongs to {v}. | The present owner is {v}. | It was bought by {v}, who still own it. | Who owns
 {n} today? | To whom does {n} belong now? | owner
Each autumn {v} is held there. | It is best known for {v} in September. | The season ends with {v}. | Which
 event takes place at {n}? | What is held at {n} each year? | event
Work stopped for a time because of {v}. | It had to close once after {v}. | It was damaged by {v}. | What
 interrupted the history of {n}? | Because of what did {n} have to close? | cause
The first keeper was {v}. | For its first decade it was run by {v}. | Its earliest manager was {v}. | Who
 was the first to run {n}? | Who was the earliest manager of {n}? | person
Its foundations go down {v}. | The cellar lies {v} below the street. | A shaft beneath it is {v} deep. | How
 far below ground does {n} reach? | How deep does {n} go? | depth
A staff of {v} keeps it running. | It employs {v} people. | In all, {v} people work there. | How many people
 work at {n}? | How large is the staff of {n}? | staff
""")


def _fact_value(pen: _Pen, kind: str) -> str:
    values: dict[str, Callable[[], str]] = {
        "year": lambda: str(pen.number(1720, 2015)),
        "person": lambda: f"{pen.draw(_NAMES)} {pen.draw(_RIVERS)}{pen.draw(_TAILS)}",
        "money": lambda: f"{pen.number(12, 990)},000 crowns",
        "height": lambda: f"{pen.number(9, 140)} metres",
        "material": lambda: pen.draw(_MATERIALS),
        "count": lambda: f"{pen.number(3, 240)},{pen.number(100, 999)}",
        "owner": lambda: pen.draw(_OWNERS),
        "event": lambda: pen.draw(_EVENTS),
        "cause": lambda: pen.draw(_CAUSES),
        "depth": lambda: f"{pen.number(2, 38)} metres",
        "staff": lambda: str(pen.number(4, 95)),
    }
    return values[kind]()


def _reading(
    pen: _Pen, count: int, per_context: int, *, many: bool, empty: Callable[[int], bool]
) -> list[Row]:
    rows: list[Row] = []
    while len(rows) < count:
        place, kind, river = pen.draw(_PLACES), pen.draw(_KINDS), pen.draw(_RIVERS)
        name = f"{place} {kind}"
        order = list(range(len(_FACTS)))
        pen.random.shuffle(order)
        told, untold = order[:5], order[5:]
        context = pen.random.choice(
            [
                f"The {name} is {_a(kind.lower())} on the river {river}.",
                f"On the banks of the {river} stands the {name}, a modest {kind.lower()}.",
                f"Travellers along the {river} know the {name} well.",
                f"The {name} lies where the {river} bends to the north.",
            ]
        )
        spans: list[tuple[int, str]] = []
        aside_at = pen.number(0, 4)
        for index, fact in enumerate(told):
            said, value = pen.random.choice(_FACTS[fact][:3]), _fact_value(pen, _FACTS[fact][5])
            spans.append((len(context) + 1 + said.index("{v}"), value))
            context += " " + said.replace("{v}", value)
            if index == aside_at or index == (aside_at + 2) % 5:
                context += " " + pen.draw(_ASIDES)
        for at in pen.random.sample(range(len(told)), min(per_context, count - len(rows))):
            row: Row = {"id": pen.hex(24), "title": name.replace(" ", "_"), "context": context}
            if empty(len(rows)):
                row["question"] = pen.random.choice(_FACTS[untold[at]][3:5]).replace("{n}", f"the {name}")
                row["answers"] = {"text": [], "answer_start": []}
            else:
                start, value = spans[at]
                row["question"] = pen.random.choice(_FACTS[told[at]][3:5]).replace("{n}", f"the {name}")
                texts, starts = [value], [start]
                if many:  # the longer answer takes in the word before it
                    before = context.rindex(" ", 0, start - 1) + 1
                    texts, starts = (
                        [value, context[before : start + len(value)], value],
                        [start, before, start],
                    )
                row["answers"] = {"text": texts, "answer_start": starts}
            rows.append(row)
    return rows


def squad(folder: Path, rows: int = 60, *, seed: int = 0, per_context: int = 1) -> Path:
    """SQuAD v1.1, https://huggingface.co/datasets/rajpurkar/squad; `answer_start` counts characters.

    The published splits have about five questions a context: give `per_context=5`, the most, for that.
    """
    pen = _Pen("squad", seed)
    home = folder / "plain_text"
    path = _parquet(
        "squad",
        home / "train-00000-of-00001.parquet",
        _reading(pen, rows, per_context, many=False, empty=lambda index: False),
    )
    rest = _reading(pen, max(3, rows // 6), per_context, many=True, empty=lambda index: False)
    _parquet("squad", home / "validation-00000-of-00001.parquet", rest)
    return path


def squad_v2(folder: Path, rows: int = 60, *, seed: int = 0, per_context: int = 1) -> Path:
    """SQuAD v2, https://huggingface.co/datasets/rajpurkar/squad_v2; both lists empty without an answer."""
    pen = _Pen("squad_v2", seed)
    home = folder / "squad_v2"
    path = _parquet(
        "squad_v2",
        home / "train-00000-of-00001.parquet",
        _reading(pen, rows, per_context, many=False, empty=lambda index: index % 3 == 1),
    )
    rest = _reading(pen, max(3, rows // 6), per_context, many=True, empty=lambda index: index % 2 == 1)
    _parquet("squad_v2", home / "validation-00000-of-00001.parquet", rest)
    return path


# ----------------------------------------------------------------------------------- choices (ARC, CSQA)

_SCIENCE = _tables("""
Which tool is made to measure {x}? | What should be used to find {x}?
the temperature of the air | a thermometer
the mass of a small rock | a balance
the volume of some oil | a graduated cylinder
the length of a leaf | a ruler
the pressure of the atmosphere | a barometer
the speed of the wind | an anemometer
how long a race lasts | a stopwatch
the amount of rain in a day | a rain gauge
the current in a circuit | an ammeter
the strength of an earthquake | a seismograph

Which organ of the human body {x}? | Name the organ that {x}.
pumps blood | the heart
takes oxygen from the air | the lungs
filters waste out of the blood to make urine | the kidneys
controls thought and memory | the brain
mixes swallowed food with acid | the stomach
takes up most nutrients from digested food | the small intestine
makes bile | the liver
covers and protects the outside | the skin
sends pictures to the brain along the optic nerve | the eye
stores urine | the bladder

What is the name of the process in which {x}? | Which process is at work when {x}?
a puddle slowly turns into vapour | evaporation
vapour forms drops on a cold glass | condensation
an ice cube becomes liquid | melting
liquid water becomes ice | freezing
dry ice turns straight into gas | sublimation
wind carries soil away from a field | erosion
a river drops sand at its mouth | deposition
frost cracks a boulder into pieces | weathering
green plants make sugar with sunlight | photosynthesis
a caterpillar becomes a butterfly | metamorphosis
a bee carries pollen between flowers | pollination
fungi break down a fallen log | decomposition

Which planet of our solar system {x}? | Name the planet that {x}.
is closest to the Sun | Mercury
is larger than all the others | Jupiter
has the brightest and widest rings | Saturn
looks red because of rusty dust | Mars
has the hottest surface | Venus
is farthest from the Sun | Neptune
rolls around the Sun tipped on its side | Uranus
is known to support life | Earth

Which part of a plant mainly {x}? | What plant part {x}?
takes in water from the soil | the roots
holds the leaves up and carries water to them | the stem
makes most of the food | the leaves
draws insects with colour and scent | the petals
surrounds and protects ripe seeds | the fruit
holds an embryo that can grow into a new plant | the seed
protects the trunk of a tree from outside | the bark
makes the pollen | the stamen

Which of these objects {x}? | Which object in the box {x}?
is the best conductor of electricity | a copper wire
would stick to a magnet | an iron nail
lets almost all light pass through | a clear glass pane
floats on water because it is full of air pockets | a cork
dissolves when stirred into water | a sugar cube
stretches and springs back | a rubber band
soaks up spilled water best | a dry sponge
burns most easily | a sheet of dry paper

Which feature helps {x} survive where it lives? | Which body feature is useful to {x}?
a cactus in the desert | a thick stem that stores water
a polar bear on the ice | a layer of fat under white fur
a duck on a lake | webbed feet
a woodpecker in a forest | a strong pointed beak for chiselling
an owl hunting at night | very large eyes and silent wings
a chameleon on a branch | skin that changes colour
a giraffe on the savanna | a long neck for reaching high leaves
a mole under a meadow | broad front paws for digging
a bat in a dark cave | hearing that picks up echoes
a fish in a river | gills that take oxygen from water

An inventor looks at {x}. Into which form does it mainly change electrical energy?
a toaster | heat
a ceiling fan | motion
a doorbell | sound
a reading lamp | light

Which kind of animal is {x}? | To which animal group does {x} belong?
a salmon | fish
a newt | amphibian
a tortoise | reptile
a penguin | bird
a dolphin | mammal
a ladybird | insect
a garden spider | arachnid
a lobster | crustacean

What causes {x}? | What is the main reason for {x}?
day and night on Earth | the turning of Earth on its axis
the seasons on Earth | the tilt of Earth's axis
the tides of the ocean | the pull of the Moon's gravity
the phases of the Moon | the changing part of the lit half that we can see
a shadow behind a post | light being blocked by something solid
a rainbow after rain | sunlight being bent and split by drops
an echo in a valley | sound bouncing off a hard surface
a compass needle pointing north | the magnetic field of Earth
a ball slowing down on grass | friction between two surfaces
most earthquakes | plates of the crust slipping past each other
""")


def _science(pen: _Pen, count: int) -> list[Row]:
    every = [(table, row) for table in _SCIENCE for row in table[1:]]
    rows: list[Row] = []
    for index in range(count):
        (stems, *pairs), (key, answer) = pen.draw(every)
        size = 3 if index % 11 == 3 else 5 if index % 13 == 5 else 4
        others = [text for _, text in pairs if text != answer]
        if len(others) < size - 1:
            size = len(others) + 1
        texts = [answer, *pen.random.sample(others, size - 1)]
        pen.random.shuffle(texts)
        digits = index % 7 == 2 and size == 4
        labels = list("1234" if digits else "ABCDE"[:size])
        source = (
            "NYSEDREGENTS_2012_4" if digits else pen.random.choice(["Mercury", "Mercury_SC", "MCAS_2006_5"])
        )
        rows.append(
            {
                "id": f"{source}_{400000 + 37 * index + pen.number(0, 36)}",
                "question": f"{pen.fill(pen.draw(_LEADS))} {pen.random.choice(stems).replace('{x}', key)}",
                "choices": {"text": texts, "label": labels},
                "answerKey": labels[texts.index(answer)],
            }
        )
    return rows


def arc_challenge(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """ARC-Challenge, https://huggingface.co/datasets/allenai/ai2_arc; keys A-E or 1-4, 3 to 5 choices."""
    made = _science(_Pen("arc_challenge", seed), _total(rows, 2))
    paths = [
        _parquet("arc_challenge", folder / "ARC-Challenge" / f"{split}-00000-of-00001.parquet", part)
        for split, part in zip(("train", "validation", "test"), _cut(made, rows), strict=True)
    ]
    return paths[0]


_SENSE = _tables("""
{name} is looking for {x}, where is it most likely to be? | Where would somebody usually go to find {x}?
spare socks | socks | chest of drawers
a surgeon at work | surgeon | operating theatre
a row of church pews | pews | chapel
a sleeping lion in a city | lion | zoo
frozen peas at home | peas | freezer
a lifeguard on duty | lifeguard | swimming pool
thousands of borrowed novels | novels | public library
a judge in a robe | judge | courtroom
an aeroplane under repair indoors | aeroplane | hangar
fresh hay and horses | hay | stable
an anchor chain | anchor | ship
a steering wheel and pedals | pedals | car
ripe grapes on the vine | grapes | vineyard
the king and the bishop of a game | bishop | chessboard
a bank of servers | servers | data centre
coal deep underground | coal | mine
a stage curtain | curtain | opera house
telescopes under a dome | telescopes | observatory
a conveyor belt with suitcases | suitcases | airport
a queue of people posting parcels | parcels | post office

What would {name} most likely use to {x}? | {name} wants to {x}, what is needed for that?
tighten a loose screw | screw | screwdriver
cut a loaf of bread | bread | serrated knife
dry wet hair | hair | towel
keep rain off while walking | rain | umbrella
light a dark cellar | cellar | torch
stick two sheets of paper together | paper | glue
boil water for tea | tea | kettle
find north in the forest | north | compass
carry books to school | books | rucksack
sweep crumbs off the floor | crumbs | broom
wake up at six | wake | alarm clock
dig a hole for a tree | hole | spade
hammer a nail flat | nail | hammer
see tiny print better | print | magnifying glass
cross a lake without getting wet | lake | rowing boat
remove pencil marks | pencil | eraser
water a bed of roses | roses | watering can
send a birthday card abroad | card | postage stamp
fasten trousers that are too wide | trousers | belt
reach a high shelf | shelf | stepladder

How does {name} probably feel after {x}? | {x} happened to {name}, which feeling is likely?
a night without any sleep | sleep | exhausted
a surprise win in a raffle | win | delighted
a whole day with no food | food | hungry
the loss of a beloved pet | pet | heartbroken
a rude remark from a neighbour | remark | offended
a spicy meal without a drink | drink | thirsty
a loud bang in the dark | bang | startled
a dull lecture of three hours | lecture | bored
a fall in front of the whole class | fall | embarrassed
an evening with nobody to talk to | evening | lonely

What does {name} expect to happen if {x}? | Suppose {x}, what follows?
an ice cream is left in the sun | ice cream | it melts
a glass is dropped on stone | glass | it shatters
a plant gets no water for months | plant | it withers
a phone is never charged | phone | its battery runs out
milk is kept warm for a week | milk | it turns sour
iron is left in the rain | iron | it rusts
a candle is put under a jar | candle | its flame goes out
a tyre rolls over a nail | tyre | it goes flat
the string of a kite snaps in a gale | kite | it blows away
bread stays too long in a toaster | bread | it burns
paint is mixed from blue and yellow | paint | it becomes green
a seed is kept in warm moist soil | seed | it sprouts
""")
_SENSE_LEADS = _words("""
It is {day} in {place}. | Nobody else is at home. | The {role} next door has just left. | The shops are
shut. | {name} is visiting from {place}. | A {role} asked the question on a train. | The weather has turned
cold. | There is a {thing} in the way. | Breakfast is over. | The car would not start. | A friend is on the
phone. | The guests have not arrived yet. | This was overheard {spot}. | Everyone is in a hurry. | School is
out. | A letter has come from {place}. | The lift is broken. | The {role} and the {role} are talking.
""")


def _common_sense(pen: _Pen, count: int) -> list[Row]:
    every = [(table, row) for table in _SENSE for row in table[1:]]
    rows: list[Row] = []
    for _ in range(count):
        (stems, *items), (phrase, concept, answer) = pen.draw(every)
        texts = [answer, *pen.random.sample([item[2] for item in items if item[2] != answer], 4)]
        pen.random.shuffle(texts)
        stem = _upper(pen.fill(pen.random.choice(stems).replace("{x}", phrase)))
        rows.append(
            {
                "id": pen.hex(32),
                "question": f"{pen.fill(pen.draw(_SENSE_LEADS))} {stem}",
                "question_concept": concept,
                "choices": {"label": list("ABCDE"), "text": texts},
                "answerKey": "ABCDE"[texts.index(answer)],
            }
        )
    return rows


def commonsense_qa(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """CommonsenseQA, https://huggingface.co/datasets/tau/commonsense_qa; the test split's answerKey is ""."""
    made = _common_sense(_Pen("commonsense_qa", seed), _total(rows, 2))
    parts = _cut(made, rows)
    parts[2] = [{**row, "answerKey": ""} for row in parts[2]]
    paths = [
        _parquet("commonsense_qa", folder / "data" / f"{split}-00000-of-00001.parquet", part)
        for split, part in zip(("train", "validation", "test"), parts, strict=True)
    ]
    return paths[0]


def commonsense_qa_jsonl(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """CommonsenseQA as first released, https://www.tau-nlp.org/commonsenseqa; test rows have no answerKey."""
    made = [
        {
            "answerKey": row["answerKey"],
            "id": row["id"],
            "question": {
                "question_concept": row["question_concept"],
                "choices": [
                    {"label": label, "text": text}
                    for label, text in zip(row["choices"]["label"], row["choices"]["text"], strict=True)
                ],
                "stem": row["question"],
            },
        }
        for row in _common_sense(_Pen("commonsense_qa", seed), _total(rows, 2))
    ]
    train, dev, test = _cut(made, rows)
    _lines(folder / "dev_rand_split.jsonl", dev)
    bare = [{key: item for key, item in row.items() if key != "answerKey"} for row in test]
    _lines(folder / "test_rand_split_no_answers.jsonl", bare)
    return _lines(folder / "train_rand_split.jsonl", train)


# --------------------------------------------------------------------------------- pronouns (WinoGrande)

# A sentence with the two people {a} and {b}, then the ending where the gap is {a}, then that for {b}.
_SCHEMAS = _rows("""
{a} lent the {o} to {b} because | _ no longer needed it | _ had lost a similar one
{a} bought a used {o} from {b} since | _ wanted to own one | _ was moving to a smaller flat
{a} asked {b} how to mend the {o} because | _ had broken it | _ was known as an expert
{a} carried the heavy {o} for {b} as | _ was the stronger of the two | _ had a sore back
{a} apologised to {b} about the {o} because | _ had scratched it | _ had been its proud owner
{a} could not beat {b} at cards, so | _ asked for lessons | _ kept the trophy again
{a} hid the {o} from {b} so that | _ could keep it for longer | _ would be surprised later
{a} thanked {b} for the {o} because | _ had wished for one | _ had chosen it with care
{a} waited for {b} by the {o}, but | _ finally went home alone | _ had forgotten the date
{a} taught {b} to use the {o}, as | _ had years of practice | _ was a complete beginner
{a} envied {b} because | _ had never owned a {o} | _ had just won a fine {o}
{a} paid {b} to clean the {o} because | _ had no spare time | _ needed the money
{a} sold a {o} to {b} although | _ would miss it badly | _ hardly had room for it
{a} borrowed the {o} from {b} and | _ promised to return it soon | _ asked for it back soon
{a} visited {b} in hospital because | _ was worried about a friend | _ had broken a leg
{a} photographed {b} with the {o}, so | _ is not in the picture | _ had to smile for ages
{a} was late to meet {b}, therefore | _ ran the whole way | _ had to wait in the cold
{a} replaced {b} as captain after | _ had been elected by the team | _ retired from the team
{a} whispered to {b} during the film, and | _ was told to stop talking | _ tried not to listen
{a} followed {b} through the market because | _ did not know the way | _ was leading the tour
{a} returned the {o} to {b} because | _ had finished using it | _ had been asking for it
{a} cooked for {b} on {day} because | _ loves to stand in the kitchen | _ was ill in bed
{a} hired {b} to guard the {o}, for | _ feared a thief | _ had worked as a watchman
{a} wrote {b} a long letter and | _ posted it before noon | _ read it twice at breakfast
{a} gave {b} a lift to {place} because | _ was driving there anyway | _ had missed the bus
{a} copied the drawing by {b}, and | _ was scolded for cheating | _ felt cheated of an idea
{a} tripped over the {o} left by {b}, so | _ needed a plaster | _ said sorry at once
{a} interviewed {b} for a job because | _ was looking for staff | _ was looking for work
{a} painted a portrait of {b}, and | _ signed it in one corner | _ sat still for hours
{a} trusted {b} with the keys because | _ would be away all week | _ had always been reliable
{a} shouted across the river to {b}, but | _ got no reply | _ could not hear a word
{a} untied the boat for {b}, then | _ waved from the shore | _ rowed out alone
""")
_OPENINGS = _words("""
After the storm in {place}, | Last {day}, | At the village fair, | As everyone in {place} remembers, |
Before the shops had opened, | According to the local paper, | Two summers ago, | On the way back from
{place}, | While the {role} looked on, | In the first week of March, | Without telling anybody, | During the
long drought, | To the surprise of the {role}, | Once the guests had left, | On a foggy {day}, | In the yard
behind the inn, | Shortly after the wedding, | As far as the {role} knew, | When the ferry was cancelled, |
One evening {spot}, | Near the end of the term, | In spite of the rain, | Back when {place} had a cinema, |
Late on {day},
""")


def _gaps(pen: _Pen, count: int) -> list[Row]:
    rows: list[Row] = []
    for _ in range(count):
        stem, *endings = pen.draw(_SCHEMAS)
        who = pen.number(0, 1)
        ending = endings[who]
        first, second = pen.some(_NAMES, 2)
        thing = pen.draw(_THINGS)
        text = f"{pen.draw(_OPENINGS)} {stem} {ending}.".replace(" a {o}", f" {_a(thing)}").replace(
            "{o}", thing
        )
        text = pen.fill(text.replace("{a}", first).replace("{b}", second))
        options = [first, second]
        pen.random.shuffle(options)
        answer = second if who else first
        qid = "".join(pen.random.choice("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(30))
        rows.append(
            {
                "qID": f"{qid}-{1 + who}",
                "sentence": text,
                "option1": options[0],
                "option2": options[1],
                "answer": str(1 + options.index(answer)),
            }
        )
    return rows


def winogrande(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """WinoGrande on the hub, https://huggingface.co/datasets/allenai/winogrande; test answers are ""."""
    made = [
        {key: row[key] for key in FEATURES["winogrande"]}
        for row in _gaps(_Pen("wino", seed), _total(rows, 2))
    ]
    parts = _cut(made, rows)
    parts[2] = [{**row, "answer": ""} for row in parts[2]]
    paths = [
        _parquet("winogrande", folder / "winogrande_xl" / f"{split}-00000-of-00001.parquet", part)
        for split, part in zip(("train", "validation", "test"), parts, strict=True)
    ]
    return paths[0]


def winogrande_jsonl(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """WinoGrande 1.1 as first released, https://github.com/allenai/winogrande; test rows have no answer."""
    train, dev, test = _cut(_gaps(_Pen("wino", seed), _total(rows, 2)), rows)
    for stem, part in (("train_xl", train), ("dev", dev)):
        _lines(folder / f"{stem}.jsonl", part)
        (folder / f"{stem}-labels.lst").write_text("".join(f"{row['answer']}\n" for row in part))
    _lines(
        folder / "test.jsonl", [{key: item for key, item in row.items() if key != "answer"} for row in test]
    )
    return folder / "train_xl.jsonl"


# -------------------------------------------------------------------------------------- advice (chat sets)

_TOPICS = _rows("""
keeping a sourdough starter alive | Feed it with equal weights of flour and water every day. | Keep the jar
 somewhere warm but out of the sun. | Throw away half before each feeding so that it stays lively. | Use rye
 flour for a week if it looks tired. | A grey liquid on top only means that it is hungry. | It can rest in
 the fridge for a fortnight.
growing tomatoes on a balcony | Choose a bush variety that stays below a metre. | Water the soil rather than
 the leaves. | Turn the pot a little each morning for even light. | Pinch out side shoots once the first
 flowers appear. | A handful of crushed eggshell helps against black spots. | Tie the stems loosely with
 strips of cloth.
learning to touch-type | Rest your fingers on the middle row and return there after every key. | Practise
 for ten minutes twice a day. | Cover the keyboard with a tea towel so that you cannot peek. | Aim for no
 mistakes first, speed comes later. | Type song lyrics that you know by heart. | Keep your wrists level with
 the edge of the desk.
fixing a dripping tap | Shut off the valve under the basin before you start. | Plug the drain so that no
 screw gets lost. | The rubber washer is the usual culprit and costs very little. | Photograph each part as
 you take it off. | Clean limescale from the seat with vinegar. | Tighten the nut by hand, then a quarter
 turn with a spanner.
packing for a hike in the mountains | Put the heaviest items close to your back. | Two thin layers are
 better than one thick jumper. | Carry a paper map because batteries die in the cold. | Pack dry socks in a
 sealed bag. | Take more water than you think you need. | A whistle weighs nothing and can be heard a mile
 away.
preparing for a job interview | Read the firm's last two announcements. | Rehearse one story about a problem
 that you solved. | Lay out your clothes the evening before. | Write down three questions to ask at the end.
 | Arrive ten minutes early, not half an hour. | Answer slowly and look at each person in turn.
adopting an old dog | Give it a quiet corner that nobody else uses. | Ask the shelter what food it is used
 to. | Several short walks are kinder than one long one. | Have its teeth checked in the first month. | Lay
 carpet strips where the floor is slippery. | Expect two or three weeks before it really settles.
saving money on heating | Close the doors of rooms that you do not use. | Bleed the radiators at the start
 of autumn. | Lowering the thermostat by one degree is hardly noticeable. | Seal gaps in the window frames
 with foam tape. | Draw thick curtains as soon as it gets dark. | Move the sofa away from the radiator.
writing a speech for a wedding | Open with how you met the couple. | Tell one funny story, and make sure
 that it is kind. | Four minutes are plenty. | Read it aloud to someone who will be honest. | Print it in
 large letters on small cards. | Finish by raising your glass and naming them both.
starting a small vegetable patch | Watch for a day where the sun falls. | Begin with radishes, beans and
 lettuce. | Dig in compost a month before you sow. | Mark each row with a label that survives rain. | A
 board across the bed lets you weed without treading on soil. | Swap spare seedlings with neighbours.
getting a toddler to sleep | Do the same three things in the same order each night. | Dim the lights an hour
 before bedtime. | Leave the door open by a hand's width. | Offer a choice between two pairs of pyjamas. | A
 dull story works better than a thrilling one. | Keep visits short if the child calls out.
brewing better coffee at home | Grind the beans just before you brew. | Weigh the coffee instead of using a
 spoon. | Let boiling water cool for half a minute. | Rinse the paper filter to get rid of the papery taste.
 | Buy small bags and note the roasting date. | Clean the grinder with a dry brush every week.
reading more books | Keep a book where you usually leave your phone. | Stop reading what bores you after
 fifty pages. | Set aside the last quarter of an hour of the day. | Join a library that sends reminders. |
 Alternate a thick novel with short stories. | Write one sentence about every book you finish.
running a first half marathon | Increase the distance by no more than a tenth each week. | Run most days so
 slowly that you can talk. | Test your shoes well before the race. | Eat nothing new on the morning of the
 start. | Rest completely for the last two days. | Hold back in the first three kilometres.
cleaning a cast iron pan | Wipe it while it is still warm. | Scrub with coarse salt rather than steel wool.
 | Dry it on the stove so that no rust can form. | Rub in a few drops of oil and polish most of it off. |
 Never leave it to soak overnight. | Bake it upside down for an hour if food begins to stick.
organising a street party | Ask the council for permission two months ahead. | Give every household one dish
 to bring. | Borrow trestle tables from the school. | Plan games that need no explanation. | Have a
 tarpaulin ready in case of rain. | Fix an end time and print it on the invitation.
choosing a second-hand bicycle | Lift the bike and spin both wheels to see whether they are true. | Check
 the frame for cracks near the welds. | A worn chain usually means worn cogs as well. | Ride it up a hill
 before you pay. | Ask for the receipt to be sure that it was not stolen. | Set aside a little for new brake
 pads.
keeping bees in a town | Take a course before you buy a hive. | Face the entrance away from the footpath. |
 Provide shallow water with stones to land on. | Inspect the frames on calm warm afternoons. | Tell the
 neighbours and give them honey. | Leave enough stores in the hive for winter.
learning the names of many pupils | Make a seating plan with photographs. | Use each name aloud when you
 hand back work. | Link the name to something the child told you. | Test yourself on the way home. | Admit
 it cheerfully when you get one wrong. | Greet everyone at the door in the first week.
photographing birds | Sit still near a feeder for half an hour. | Use a short exposure to freeze the wings.
 | Focus on the eye. | Keep the sun behind you. | Wear dull colours and move slowly. | Learn the call first,
 then look for the bird.
making soup from leftovers | Fry an onion slowly before anything else goes in. | Add soft vegetables last. |
 The rind of hard cheese gives depth. | Blend only half if you like some texture. | A squeeze of lemon
 rescues a flat taste. | Freeze single portions in flat bags.
sleeping well on a night train | Book the lower berth if you wake up often. | Bring ear plugs and a soft
 scarf. | Lock the door and put your shoes by the ladder. | Avoid coffee after the afternoon. | Set the
 alarm half an hour before arrival. | Lie with your head towards the corridor.
mending a torn jacket | Wash the jacket before you sew. | Iron a patch onto the inside of the tear. | Use a
 thread that is slightly darker than the cloth. | Work with small stitches from the middle outwards. |
 Remove loose fibres with nail scissors. | Seal the seam of a raincoat with wax.
playing chess with a beginner | Start with pawns only and add pieces later. | Explain your own thinking
 aloud. | Let moves be taken back in the first games. | Play without a queen to make it even. | Stop while
 it is still fun. | Show how to give mate with two rooks.
setting up a home office | Place the screen at right angles to the window. | A firm chair matters more than
 a big desk. | Run all cables along one leg of the table. | Put a plant where you would otherwise pile
 paper. | Agree on signs that mean do not disturb. | Stand up whenever you take a call.
painting a small room | Empty the room completely, it saves time in the end. | Wash the walls with warm
 soapy water. | Paint the corners with a brush before you use the roller. | Begin at the window and work
 away from it. | Two thin coats beat a thick one. | Pull off the tape while the paint is still wet.
travelling with a cello | Loosen the strings a little before a flight. | Book a window seat for the
 instrument. | Put a humidifier into the case in winter. | Carry the papers for the bow with you. | Never
 leave it in a parked car. | Tie a bright ribbon to the handle.
identifying mushrooms safely | Pick only what you know from stalk to cap. | Note which trees grow nearby. |
 Take a spore print on white and black paper. | Use a basket rather than a plastic bag. | Show every find to
 a local expert. | Never rely on a single photograph.
teaching a parrot to speak | Repeat one word at the same time each day. | Speak in a high cheerful voice. |
 Reward any sound that comes close. | Turn off the radio during lessons. | Young birds learn faster, but old
 ones can surprise you. | Leave out words that you would regret.
moving house in winter | Book the van for the middle of the week. | Label boxes by room and by urgency. |
 Lay cardboard in the hall against wet boots. | Keep kettle, cups and lamps in the last box. | Read the
 meters in both homes. | Let the fridge stand for some hours before you switch it on.
repairing an old radio | Unplug it and wait before you open the back. | Look for swollen capacitors. | Clean
 the contacts with alcohol and a cotton bud. | Test the valves one by one. | Draw the wiring before you
 unsolder anything. | Replace the mains cable if the rubber is brittle.
hosting a quiz evening | Mix easy rounds with one fiendish one. | Check every answer in two sources. | Limit
 teams to five people. | Swap answer sheets for marking. | Keep a tie-break with a number ready. | Offer a
 silly prize for the last place.
caring for leather boots | Brush off dry mud before it scratches. | Stuff wet boots with newspaper and
 change it often. | Keep them away from the stove. | Work wax into the seams with an old toothbrush. | Rest
 each pair for a day between outings. | Replace the heels before they wear down to the shell.
drawing portraits | Sketch the egg shape of the head first. | The eyes sit halfway down, lower than most
 people think. | Compare distances with the length of your pencil. | Leave the highlights as bare paper. |
 Turn the sheet upside down to spot mistakes. | Draw the shadow under the nose, not its outline.
swimming in cold water | Never go in alone. | Wade in slowly and breathe out. | Get out while you still feel
 strong. | Wear a bright cap so that boats can see you. | Have dry layers ready in the order you put them
 on. | Warm up with a walk rather than a hot shower.
learning a folk dance | Listen to the music until you can clap the rhythm. | Learn the steps of one part at
 a time. | Look at the teacher's hips instead of the feet. | Practise turns in both directions. | Wear shoes
 with smooth soles. | Dance with many partners, each will teach you something.
""")
_ASKS = _words("""
Can you help me with {t}? | What should I know about {t}? | I have never tried {t}. Where do I begin? | My
{role} friend swears that {t} is easy. Is there a trick? | Please give me some advice on {t}. | I keep
failing at {t}, what am I doing wrong? | How would an expert go about {t}? | We talked about {t} at dinner
and nobody had a clue. Any ideas? | Could you list what matters for {t}? | By {day} I have to be good at
{t}. What now? | What are common mistakes in {t}? | Someone in {place} asked me about {t}. What shall I tell
them?
""")
_SITUATIONS = _words("""
I live in {place} and have a tight budget. | My name is {name} and I am rather impatient. | There are four
of us, and one is a {role}. | I only have a {thing} and an hour to spare. | My grandmother in {place} used
to do it every {day}. | I moved to {place} in the autumn and know nobody here. | {name} promised to help but
is never on time. | We are on the third floor without a lift. | I work nights as a {role}, so mornings are
all I have. | It has rained in {place} since {day}. | I have to do it {spot}. | My sister {name} will be
watching, so it had better work. | Our club meets {spot} on {day}. | I broke my {thing} the last time. | The
{role} next door says I should give up. | I promised it to {name} for {day}. | We have no garden, just a
yard and a {thing}. | I am writing a leaflet about it for the library in {place}. | A cousin, {name}, wants
to join in as well. | I am seventy and started only because {name} did.
""")
_STARTS = _words("""
Happy to help! | Good question. | Here is what tends to work. | That is very doable. | Let us go step by
step. | You are not alone with this. | A few habits make all the difference. | With some patience it will go
well. | Many people get this wrong at first. | There is a simple way to do it. | Start small and build on
that. | I would proceed as follows.
""")
_ENDS = _words("""
Tell me how it goes. | The rest is practice. | That should be enough for a first attempt. | Do not rush it.
| If it fails, change one thing at a time. | You will notice progress within a month. | Enjoy it, that helps
most. | Everything else can wait. | Ask again if something is unclear. | Write down what worked for you. |
Beyond that, trust your own judgement. | A friend who looks on is worth a lot.
""")
_REPLIES = _words("""
For {place} I would add a little extra time. | As for {name}, agree on a fixed hour beforehand. | Your
{thing} is good enough for now. | Do the hardest part on {day}, when you are fresh. | A {role} could look it
over for you. | If space is short, do it {spot}. | Ask around in {place}, somebody will lend you what is
missing. | Let {name} take over the boring half. | Put the {thing} away first, it only distracts. | Plan a
spare hour on {day} in case it drags on. | Think of how a {role} would divide the work. | It is easier
{time} than at any other moment.
""")
_FOLLOW_UPS = _words("""
Thanks! What if I only have a {thing}? | And how long will that take? | {name} does not agree. Why is it
better? | Does that hold in {place} as well? | What would you do first on {day}? | Is there anything I
should avoid? | Could a {role} do it for me instead? | I tried part of it {time}. What comes next? | Which
of these matters most? | And if that does not work? | Can I do it {spot}? | My {role} colleague wants more
detail, please.
""")
_POOR = _words("""
No idea, sorry. | It depends. Maybe look it up somewhere. | Just do it and see what happens, I suppose. | I
do not find that interesting. Let us talk about {thing}s instead. | Ask a {role}, that is not my business. |
People in {place} would laugh at this question. | Try harder. That is all there is to say. | First buy a
{thing}. Then buy another {thing}. Then wait until {day}. | Yes. No. Perhaps. Who can tell? | As I said
before, the answer is obvious. | You should have asked {name} in the first place. | There are many opinions
about this and each of them is as good as the next. | That cannot be done. | It is fine the way it is, so
change nothing at all. | My favourite place is {place}. What is yours? | Everything takes time, time takes
everything, and so on and so forth.
""")


class _Talk:
    """One person's question on a topic, with good and poor answers that do not repeat within the talk."""

    def __init__(self, pen: _Pen) -> None:
        self.pen = pen
        self.topic, *tips = pen.draw(_TOPICS)
        self._tips = pen.random.sample(tips, len(tips))
        ask, situation = pen.draw(_ASKS).replace("{t}", self.topic), pen.draw(_SITUATIONS)
        parts = [ask, situation]
        if pen.random.random() < 0.5:
            parts.reverse()
        self.ask = _upper(pen.fill(" ".join(parts)))
        self.used = 0

    def good(self, tips: int = 2) -> str:
        told = self._tips[self.used : self.used + tips]
        self.used += tips
        lines = [self.pen.draw(_STARTS), *told, self.pen.fill(self.pen.draw(_REPLIES)), self.pen.draw(_ENDS)]
        return " ".join(lines)

    def poor(self) -> str:
        topic, *tips = self.pen.draw(_TOPICS)
        if topic == self.topic:
            topic, *tips = self.pen.draw(_TOPICS)
        off = self.pen.random.choice(tips)
        text = self.pen.fill(self.pen.draw(_POOR))
        return f"{text} {off}" if self.pen.random.random() < 0.6 else text

    def follow(self) -> str:
        return _upper(self.pen.fill(self.pen.draw(_FOLLOW_UPS)))

    def turns(self, pairs: int) -> list[tuple[str, str]]:
        """(asked, answered) of each exchange."""
        return [(self.follow() if index else self.ask, self.good()) for index in range(pairs)]


def _turn(role: str, content: str) -> Row:
    return {"content": content, "role": role}


def _prompt_id(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


def ultrachat_200k(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """UltraChat 200k, https://huggingface.co/datasets/HuggingFaceH4/ultrachat_200k; prompt is turn one."""
    pen = _Pen("ultrachat", seed)
    made: list[Row] = []
    for _ in range(_total(rows, 1)):
        talk = _Talk(pen)
        messages: list[Row] = []
        for asked, answered in talk.turns(pen.number(1, 3)):
            messages += [_turn("user", asked), _turn("assistant", answered)]
        made.append({"prompt": talk.ask, "prompt_id": _prompt_id(talk.ask), "messages": messages})
    _parquet("ultrachat_200k", folder / "data" / "test_sft-00000-of-00001.parquet", made[rows:])
    return _parquet("ultrachat_200k", folder / "data" / "train_sft-00000-of-00001.parquet", made[:rows])


def ultrafeedback_binarized(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """UltraFeedback, https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized.

    `messages` is the same as `chosen`.
    """
    pen = _Pen("ultrafeedback", seed)
    made: list[Row] = []
    for _ in range(_total(rows, 1)):
        talk = _Talk(pen)
        asked = _turn("user", talk.ask)
        chosen = [asked, _turn("assistant", talk.good(pen.number(2, 4)))]
        made.append(
            {
                "prompt": talk.ask,
                "prompt_id": _prompt_id(talk.ask),
                "chosen": chosen,
                "rejected": [asked, _turn("assistant", talk.poor())],
                "messages": chosen,
                "score_chosen": pen.number(13, 20) / 2,
                "score_rejected": pen.number(2, 12) / 2,
            }
        )
    home = folder / "data"
    _parquet("ultrafeedback_binarized", home / "test_prefs-00000-of-00001.parquet", made[rows:])
    return _parquet("ultrafeedback_binarized", home / "train_prefs-00000-of-00001.parquet", made[:rows])


def hh_rlhf(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """HH-RLHF, https://huggingface.co/datasets/Anthropic/hh-rlhf; dialogues that part at the end."""
    pen = _Pen("hh_rlhf", seed)
    made: list[Row] = []
    for _ in range(_total(rows, 1)):
        talk = _Talk(pen)
        turns = talk.turns(pen.number(1, 3))
        text = "".join(f"\n\nHuman: {asked}\n\nAssistant: {answered}" for asked, answered in turns[:-1])
        asked, answered = turns[-1]
        text += f"\n\nHuman: {asked}\n\nAssistant: "
        made.append({"chosen": text + answered, "rejected": text + talk.poor()})
    _lines(folder / "helpful-base" / "test.jsonl.gz", made[rows:])
    return _lines(folder / "helpful-base" / "train.jsonl.gz", made[:rows])


def _feedback(pen: _Pen, count: int) -> list[tuple[str, str, bool]]:
    found: list[tuple[str, str, bool]] = []
    for index in range(count):
        talk, liked = _Talk(pen), index % 5 not in (1, 4)
        found.append((talk.ask, talk.good() if liked else talk.poor(), liked))
    return found


def kto(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """KTO in plain text, https://huggingface.co/docs/trl/dataset_formats (unpaired preference, standard)."""
    made = [
        {"prompt": prompt, "completion": completion, "label": label}
        for prompt, completion, label in _feedback(_Pen("kto", seed), _total(rows, 1))
    ]
    _parquet("kto", folder / "data" / "test-00000-of-00001.parquet", made[rows:])
    return _parquet("kto", folder / "data" / "train-00000-of-00001.parquet", made[:rows])


def kto_chat(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """KTO in turns, https://huggingface.co/datasets/trl-lib/kto-mix-14k; both sides are lists of messages."""
    made = [
        {"prompt": [_turn("user", prompt)], "completion": [_turn("assistant", completion)], "label": label}
        for prompt, completion, label in _feedback(_Pen("kto_chat", seed), _total(rows, 1))
    ]
    _parquet("kto_chat", folder / "data" / "test-00000-of-00001.parquet", made[rows:])
    return _parquet("kto_chat", folder / "data" / "train-00000-of-00001.parquet", made[:rows])


def sharegpt(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """ShareGPT, https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered; one JSON array.

    As there, some talks begin with a system turn, and a few with the end of an answer.
    """
    pen = _Pen("sharegpt", seed)
    made: list[Row] = []
    for index in range(rows):
        talk = _Talk(pen)
        turns: list[Row] = []
        if index % 4 == 1:
            turns.append(
                {
                    "from": "system",
                    "value": pen.fill("You are a patient {role} from {place} who likes to help."),
                }
            )
        elif index % 17 == 6:
            turns.append({"from": "gpt", "value": talk.good(1)})
        for asked, answered in talk.turns(pen.number(1, 2)):
            turns += [{"from": "human", "value": asked}, {"from": "gpt", "value": answered}]
        made.append({"id": f"{pen.hex(7)}_{2 * (index % 3)}", "conversations": turns})
    return _array(folder / "ShareGPT_V3_unfiltered_cleaned_split.json", made)


# --------------------------------------------------------------------------------- instructions (Alpaca)

_FAVOURS = _words("""
watering the plants in August | lending me a suitcase | driving me to the station | proofreading my thesis |
finding my lost keys | repairing the garden gate | looking after the cat | teaching me to waltz | bringing
soup when I was ill | carrying the piano upstairs | the hand-painted mug | your honest advice | picking up
the children | the tickets to the opera
""")
_TRIPS = _rows("""
a week on a sailing boat | a rope knife, non-slip shoes and tablets against seasickness
a night in a mountain hut | a sleeping bag liner, a head torch and ear plugs
a day at a music festival | a rain cape, a refillable bottle and cash
a business trip by train | a charger, a clean shirt and printed notes
a desert tour in a jeep | sunglasses, a scarf against dust and plenty of water
a picnic by a lake | a blanket, a bottle opener and a bag for rubbish
a winter walk in the city | gloves, a thermos flask and shoe spikes
a cycling tour with children | a repair kit, snacks and a first-aid pouch
""")
_SHOPS = _rows("""
a bakery | The Rising Crust
a bicycle workshop | Second Gear
a second-hand bookshop | Turned Pages
a flower stall | Stem and Petal
a hat maker | Brim Full
a café for chess players | Rook and Bean
a repair shop for radios | Clear Signal
a dog school | Sit and Stay
a soap maker | Lather Lane
a kite shop | Upward Pull
a cheese counter | The Ripe Rind
a clock repairer | Spare Minutes
""")
_NOUNS = _spaced("""
anchor basket candle daisy engine feather garlic hammer island jacket kitten lemon marble needle orchard
pepper quilt ribbon saddle thimble urn velvet walnut yarn zebra bucket cactus drum elbow falcon glacier
hinge ink jigsaw
""")


def _free(pen: _Pen, kind: int) -> tuple[str, str]:
    if kind == 0:
        topic, *tips = pen.draw(_TOPICS)
        count = pen.number(2, 4)
        told = pen.random.sample(tips, count)
        words = {2: "two", 3: "three", 4: "four"}[count]
        listed = "\n".join(f"{at}. {tip}" for at, tip in enumerate(told, 1))
        return pen.fill(
            pen.random.choice([f"Give {words} tips for {topic}.", f"List {words} hints on {topic}."])
        ), listed
    if kind == 1:
        name, place, favour = pen.draw(_NAMES), pen.draw(_PLACES), pen.draw(_FAVOURS)
        note = f"Dear {name},\nthank you so much for {favour}. It made my {pen.draw(_DAYS)}. "
        return (
            pen.fill(f"Write a short thank-you note to {name}, the {{role}} from {place}, for {favour}."),
            note + pen.fill("Next time the {thing} is on me.\nWarm wishes"),
        )
    if kind == 2:
        length, width, place = pen.number(11, 98), pen.number(5, 60), pen.draw(_PLACES)
        shape = pen.random.choice(["field", "courtyard", "hall", "pond", "car park"])
        return (
            (
                f"A rectangular {shape} near {place} is {length} metres long and "
                f"{width} metres wide. What is its perimeter?"
            ),
            (
                f"Twice {length} plus twice {width} is {2 * (length + width)}, so its "
                f"perimeter is {2 * (length + width)} metres."
            ),
        )
    if kind == 3:
        trip, things = pen.draw(_TRIPS)
        asked = f"{pen.draw(_SITUATIONS)} Name three things to pack for {trip}."
        return pen.fill(asked), pen.fill(f"Pack {things}. {pen.draw(_REPLIES)}")
    if kind == 4:
        shop, title = pen.draw(_SHOPS)
        asked = f"Suggest a name for {shop} that a {{role}} opens in {{place}}. {pen.draw(_SITUATIONS)}"
        return pen.fill(asked), pen.fill(f"It could be called “{title}”. {pen.draw(_REPLIES)}")
    scene, role = pen.draw(_SCENES)[0], pen.draw(_ROLES)
    text = pen.fill(f"{{time}}, {_a(role)} called {{name}} {scene} {{spot}}.")
    return (
        pen.fill(f"Write one sentence in the present tense about {_a(role)} for a story set in {{place}}."),
        _upper(text),
    )


def _given(pen: _Pen, kind: int) -> tuple[str, str, str]:
    if kind == 0:
        words = pen.some(_NOUNS, pen.number(4, 6))
        return "Sort the words in alphabetical order.", ", ".join(words), ", ".join(sorted(words))
    if kind == 1:
        text = _upper(pen.fill("{time}, the {role} from {place} carried a {thing} to {name}."))
        return "Count the words in the sentence.", text, f"The sentence has {len(text.split())} words."
    if kind == 2:
        numbers = pen.random.sample(range(10, 990), 6)
        return "Find the largest number in the list.", ", ".join(map(str, numbers)), str(max(numbers))
    if kind == 3:
        text = _upper(pen.fill(f"{pen.draw(_NAMES)} {pen.draw(_SCENES)[0]} {{spot}}."))
        return "Rewrite the sentence in the past tense.", text, text.replace(" is ", " was ", 1)
    if kind == 4:
        asked = pen.random.random() < 0.5
        last = (
            pen.draw(_FOLLOW_UPS).replace("Thanks! ", "")
            if asked
            else pen.random.choice(pen.draw(_TOPICS)[1:])
        )
        text = pen.fill(f"{pen.draw(_SITUATIONS)} {last}")
        output = "A question." if last.endswith("?") else "A statement."
        return "Is the last sentence a question or a statement?", _upper(text), output
    year = str(pen.number(1720, 2015))
    fact = pen.random.choice(_FACTS[0][:3]).replace("{v}", year)
    text = pen.fill(
        f"The {{place}} {pen.draw(_KINDS)} lies on the river {{river}}. {fact} {pen.draw(_ASIDES)}"
    )
    return "Extract the year that is mentioned in the text.", text, year


def _instructions(pen: _Pen, count: int) -> list[Row]:
    rows: list[Row] = []
    for index in range(count):
        if index % 5 in (0, 2, 4):
            instruction, output = _free(pen, pen.number(0, 5))
            rows.append({"instruction": instruction, "input": "", "output": output})
        else:
            instruction, given, output = _given(pen, pen.number(0, 5))
            rows.append({"instruction": instruction, "input": given, "output": output})
    return rows


def alpaca(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """Alpaca, https://github.com/tatsu-lab/stanford_alpaca; most inputs empty, instructions repeat."""
    return _array(folder / "alpaca_data.json", _instructions(_Pen("alpaca", seed), rows))


def alpaca_hub(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """Alpaca on the hub, https://huggingface.co/datasets/tatsu-lab/alpaca; text is prompt and output."""
    made: list[Row] = []
    for row in _instructions(_Pen("alpaca", seed), rows):
        about = "Below is an instruction that describes a task"
        about += ", paired with an input that provides further context. " if row["input"] else ". "
        text = f"{about}Write a response that appropriately completes the request.\n\n"
        text += f"### Instruction:\n{row['instruction']}\n\n"
        text += f"### Input:\n{row['input']}\n\n" if row["input"] else ""
        made.append({**row, "text": f"{text}### Response:\n{row['output']}"})
    return _parquet("alpaca_hub", folder / "data" / "train-00000-of-00001.parquet", made)


# ------------------------------------------------------------------------------------ labels (GoEmotions)

_TOLD = {
    key: told
    for key, *told in _rows("""
admiration | What [NAME] did with the {thing} is brilliant work | Such talent, that {role} is a true master
amusement | Haha, a {thing} in the lift, I cannot stop laughing | That joke about the {role} cracked me up
anger | I am furious, they towed my car {time} again | How dare the {role} shout at my kids, this makes my
 blood boil
annoyance | Ugh, the {thing} squeaks all night and it gets on my nerves | Must they drill {time}, so
 tiresome
approval | Yes, closing the road on {day} is the right call | Well argued, I am all for the plan in {place}
caring | Please rest, and let me carry the {thing} for you | Get home safe from {place}, and call if you
 need me
confusion | I do not get it, why is a {thing} on the invoice | Wait, is the {role} the father or the uncle
curiosity | I wonder what the {role} keeps in that {thing} | How do people in {place} get to work, does
 anybody know
desire | I would give anything for a {thing} like that | If only I could move to {place}, I want it so much
disappointment | I had hoped for more than a broken {thing} | The trip to {place} was a let-down
disapproval | Selling the {thing} behind her back was wrong | No, a {role} should not speak to guests like
 that
disgust | There was mould inside the {thing}, revolting | The smell {spot} turned my stomach
embarrassment | I waved at the wrong {role} and wanted to vanish | My face went red when the {thing} fell on
 stage
excitement | Only two days until {place}, I cannot wait | We got front seats for {day}, this is going to be
 huge
fear | Something is scratching {spot} and I am scared to look | I am terrified of the crossing to {place}
gratitude | Thank you [NAME] for returning my {thing} | So grateful to the {role} who stayed with us
grief | Since my brother died I cannot open his {thing} case | We buried the old {role} on {day}, I weep
 every night
joy | Best {day} ever, we sang all the way to {place} | The baby laughed at the {thing}, pure happiness
love | I adore my wife more every {day} | My heart belongs to that {role} and always will
nervousness | My hands shake, the exam in {place} starts {time} | I keep pacing, the {role} will call with
 the results
optimism | Next season in {place} will turn out fine, I am sure | Give it till {day} and things will look up
pride | I built that {thing} on my own and it works | My daughter is the youngest {role} of the county
realization | Oh, so that is why the {role} kept the {thing} | It just dawned on me that {place} is on an
 island
relief | Phew, the {thing} was only under the bed | The tests came back clear on {day}, what a weight off
remorse | I should never have lied to the {role}, I am sorry | It was my fault that the {thing} broke,
 forgive me
sadness | The flat feels empty without the {thing} | It is a gloomy {day} and I miss {place}
surprise | Wow, a {role} won the lottery twice | I did not expect a {thing} in the post at all
neutral | The bus to {place} leaves {time} | The {role} has an office {spot}
""")
}


_ASIDE_NOTES = _words("""
Posted from {place} | This was {time} | Reading the thread {spot} | My {role} neighbour showed me this forum
| [NAME] wrote the same on {day} | Typed on a phone {spot} | Source: a {role} in {place} | Edit: it was on
{day} | Second comment by me, the first was about a {thing} | For those who ask, [NAME] lives in {place} now
| Photo of the {thing} is in my profile | See the pinned post by [NAME], the {role} | Context: two {role}s,
one {thing} | Link to the {place} group is below | Same in {place} last {day} | I am a {role}, by the way |
Answering [NAME] here | The clip starts with a {thing} {spot}
""")


def go_emotions(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """GoEmotions, https://huggingface.co/datasets/google-research-datasets/go_emotions; 1 to 3 labels."""
    pen = _Pen("go_emotions", seed)
    made: list[Row] = []
    for index in range(_total(rows, 2)):
        count = 3 if index % 19 == 7 else 2 if index % 5 == 3 else 1
        moods = pen.some(EMOTIONS, count)
        if count > 1:
            moods = [mood for mood in moods if mood != "neutral"]
        text = ". ".join(_upper(pen.fill(pen.draw(_TOLD[mood]))) for mood in moods)
        text += pen.random.choice([".", "!", "...", " -"])
        if index % 4:
            text += " " + pen.fill(pen.draw(_ASIDE_NOTES))
        labels = sorted(EMOTIONS.index(mood) for mood in moods)
        made.append({"text": text, "labels": labels, "id": f"e{pen.hex(6)}"})
    paths = [
        _parquet("go_emotions", folder / "simplified" / f"{split}-00000-of-00001.parquet", part)
        for split, part in zip(("train", "validation", "test"), _cut(made, rows), strict=True)
    ]
    return paths[0]


# ---------------------------------------------------------------------------------------- slots (MASSIVE)

_SLOTS = {
    key: values
    for key, *values in _rows("""
time | six am | half past nine | noon | seven thirty pm | quarter to four | ten at night | five fifteen |
 eleven o'clock
date | today | tomorrow | next friday | the third of june | this weekend | on monday | in two weeks |
 christmas eve
house_place | kitchen | attic | hallway | nursery | cellar | garage | bathroom | porch | study | dining room
color_type | orange | teal | pale pink | dark green | violet | warm white | crimson | turquoise
food_type | lentil curry | mushroom pie | fried rice | fish tacos | onion tart | pea soup | dumplings | goat
 stew
business_name | the copper pot | anna's kitchen | blue door diner | the quiet carp | rosa and sons | number
 nine
music_genre | swing | folk | techno | baroque | reggae | brass band | bossa nova | chamber music
artist_name | the tin whistlers | ida marlow | seven lamps | old harbour choir | juno vale | the pale moths
event_name | dentist appointment | choir rehearsal | budget meeting | school play | driving lesson | tea
 with grandma
list_name | shopping | packing | birthday | repairs | reading | holiday
currency_name | crowns | dollars | yen | francs | pesos | pounds
transport_type | train | ferry | tram | coach | night bus | cable car
device_type | kettle | heater | fan | robot vacuum | radio | oven
podcast_name | deep roots | the loose thread | minutes of may | salt and stone | half a map
weather_descriptor | rain | snow | fog | sunshine | hail | strong wind
joke_type | silly | short | clean | terrible | science
""")
}
_SLOTS["place_name"] = [place.lower() for place in _PLACES]
_SLOTS["person"] = [name.lower() for name in _NAMES]
_SAID = {
    key: told
    for key, *told in _rows("""
alarm_set | wake me at [time] [date] because i travel to [place_name] | i need an alarm for [time] [date]
alarm_remove | cancel the alarm i had for [time] | please delete every alarm set for [date]
alarm_query | which alarms are on for [date] | is there still an alarm at [time]
weather_query | will there be [weather_descriptor] in [place_name] [date] | do i need a coat in [place_name]
calendar_set | put [event_name] with [person] in my diary at [time] | add a [event_name] for [date]
calendar_query | when is my [event_name] | what do i have planned with [person] [date]
calendar_remove | drop the [event_name] [date] | erase everything with [person] from the calendar
iot_hue_lighton | switch the lights on in the [house_place] | it is dark in the [house_place] give me light
iot_hue_lightoff | lights out in the [house_place] please | nobody is in the [house_place] turn off the lamp
iot_hue_lightchange | make the [house_place] [color_type] | i fancy [color_type] light for [event_name]
iot_wemo_on | start the [device_type] in the [house_place] | could you turn on my [device_type] at [time]
iot_cleaning | have the floor of the [house_place] swept | vacuum the [house_place] before [time]
play_music | play some [music_genre] by [artist_name] | put on [artist_name] in the [house_place]
play_podcasts | continue the podcast [podcast_name] | let me hear the newest episode of [podcast_name]
music_query | who sings this [music_genre] tune | is that song by [artist_name]
takeaway_order | order [food_type] from [business_name] | get me two portions of [food_type] for [time]
takeaway_query | does [business_name] deliver to [place_name] | how late does [business_name] bring
 [food_type]
cooking_recipe | how do i cook [food_type] | find a recipe for [food_type] that [person] would like
transport_ticket | book a [transport_type] to [place_name] for [date] | i want a seat on the [time]
 [transport_type]
transport_query | when does the [transport_type] to [place_name] leave | fastest [transport_type] to
 [place_name]
transport_traffic | how bad is traffic near [place_name] | any jams on the way to [place_name] [date]
email_sendemail | write to [person] that i will be late [date] | email [person] about the [event_name]
email_query | did [person] send me mail [date] | read the last message from [person]
lists_createoradd | start a new [list_name] list | add [food_type] to the [list_name] list
lists_remove | take [food_type] off my [list_name] list | throw away the [list_name] list
qa_currency | what are forty [currency_name] worth | is the rate for [currency_name] better [date]
datetime_query | what time is it in [place_name] | which day of the week is [date]
general_joke | tell me a [joke_type] joke about [person] | i could use a [joke_type] joke
audio_volume_mute | silence please | not a sound until [time]
recommendation_events | what is on in [place_name] [date] | any [music_genre] concerts near [place_name]
social_post | tell my followers that [business_name] was awful | post a picture from [place_name]
news_query | what happened in [place_name] [date] | headlines about [place_name] please
""")
}
_SPOKEN = list(_SAID)
_POLITE = ["", "", "", "hey ", "please ", "okay now ", "quick question ", "could you help "]


def _utterances(pen: _Pen, count: int) -> list[Row]:
    rows: list[Row] = []
    seen: set[str] = set()
    while len(rows) < count:
        intent = pen.draw(_SPOKEN)
        slots = pen.draw(_POLITE) + pen.draw(_SAID[intent])
        marked = re.sub(r"\[(\w+)\]", lambda m: f"[{m[1]} : {pen.draw(_SLOTS[m[1]])}]", slots)
        plain = re.sub(r"\[\w+ : ([^\]]*)\]", r"\1", marked)
        if plain in seen:
            continue
        seen.add(plain)
        rows.append(
            {
                "id": str(len(rows)),
                "locale": "en-US",
                "partition": "train",
                "scenario": intent.split("_")[0],
                "intent": intent,
                "utt": plain,
                "annot_utt": marked,
                "worker_id": str(pen.number(1, 240)),
            }
        )
    return rows


def _partitioned(seed: int, rows: int) -> list[Row]:
    made = _utterances(_Pen("massive", seed), _total(rows, 2))
    for part, name in zip(_cut(made, rows), ("train", "dev", "test"), strict=True):
        for row in part:
            row["partition"] = name
    return made


def massive_jsonl(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """MASSIVE as first released, https://github.com/alexa/massive; all partitions of a locale in one file."""
    made = _partitioned(seed, rows)
    _Pen("massive order", seed).random.shuffle(made)
    return _lines(folder / "1.1" / "data" / "en-US.jsonl", made)


def massive(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """MASSIVE on the hub, https://huggingface.co/datasets/AmazonScience/massive; no judgments for en-US."""
    bare: Row = {key: {item: [] for item in FEATURES["massive"][key]} for key in ("slot_method", "judgments")}
    made = [
        {**row, **bare, "scenario": SCENARIOS.index(row["scenario"]), "intent": INTENTS.index(row["intent"])}
        for row in _partitioned(seed, rows)
    ]
    paths = [
        _parquet("massive", folder / "en-US" / split / "0000.parquet", part)
        for split, part in zip(("train", "validation", "test"), _cut(made, rows), strict=True)
    ]
    return paths[0]


# ------------------------------------------------------------------------------------ calls (BFCL, tools)

Values = (
    Any  # (low, high) of a number, the strings or booleans to pick from, a default where the name ends in "?"
)


class _Call:
    """A function: its parameters, how it is asked for, and what it gives back."""

    def __init__(
        self,
        name: str,
        about: str,
        parameters: dict[str, tuple[str, str, Values]],
        asks: list[str],
        several: tuple[str, str],
        result: Callable[[Row, random.Random], Row],
        reply: str,
    ) -> None:
        self.name, self.about, self.asks, self.several = name, about, asks, several
        self.result, self.reply = result, reply
        self.parameters = {key.rstrip("?"): item for key, item in parameters.items()}
        self.required = [key for key in parameters if not key.endswith("?")]

    def schema(self, kinds: Mapping[str, str]) -> Row:
        """The parameters in BFCL's types, or in those of JSON schema where `kinds` says so."""

        def one(kind: str, about: str, values: Values) -> Row:
            made: Row = {"type": kinds.get(kind, kind), "description": about}
            if kind == "array":
                made["items"] = {"type": "string" if isinstance(values[0], str) else "integer"}
            elif kind == "dict":
                made["properties"] = {key: one(*item) for key, item in values.items()}
            elif kind == "enum":
                made = {"type": "string", "description": about, "enum": list(values)}
            return made

        properties = {key: one(*item) for key, item in self.parameters.items()}
        return {"type": kinds.get("dict", "dict"), "properties": properties, "required": self.required}

    def arguments(self, pen: _Pen) -> tuple[Row, Row, dict[str, str]]:
        """The arguments asked for, the accepted values of every parameter, and the words of the question."""
        asked: Row = {}
        accepted: Row = {}
        words: dict[str, str] = {}
        for key, (kind, _, values) in self.parameters.items():
            if key not in self.required:
                accepted[key] = [values, ""]
                continue
            if kind in ("integer", "float"):
                asked[key] = (
                    pen.number(*values) if kind == "integer" else round(pen.random.uniform(*values), 1)
                )
                accepted[key], words[key] = [asked[key]], str(asked[key])
            elif kind == "boolean":
                asked[key] = pen.random.random() < 0.5
                accepted[key], words[key] = [asked[key]], values[0 if asked[key] else 1]
            elif kind == "array" and isinstance(values[0], str):
                pair = pen.some(values, 2)
                asked[key], accepted[key], words[key] = pair, [pair, pair[::-1]], " and ".join(pair)
            elif kind == "array":
                asked[key] = [pen.number(*values) for _ in range(pen.number(4, 7))]
                accepted[key], words[key] = [asked[key]], ", ".join(map(str, asked[key]))
            elif kind == "dict":
                asked[key] = {part: pen.number(*item[2]) for part, item in values.items()}
                accepted[key] = [{part: [number] for part, number in asked[key].items()}]
                words |= {part: str(number) for part, number in asked[key].items()}
            else:
                spelled = pen.draw(values).split("|")
                asked[key], accepted[key], words[key] = spelled[0], spelled, spelled[0]
        return asked, accepted, words


_MILLILITRES = {"cup": 240, "tablespoon": 15, "teaspoon": 5}
_PHRASES = _words(
    "good morning | where is the station | the bill, please | I am lost | a table for two | well done"
)
_CALLS = [
    _Call(
        "geometry.cylinder_volume",
        "Works out the volume of a cylinder.",
        {
            "radius": ("integer", "Radius of the base in centimetres.", (2, 40)),
            "height": ("integer", "Height in centimetres.", (5, 90)),
            "unit?": ("string", "Unit of the result. Default is 'cm3'.", "cm3"),
        },
        [
            (
                "A round tin stands {height} cm tall and its base has a radius "
                "of {radius} cm. How much fits inside?"
            ),
            "I need the volume of a cylinder, radius {radius} cm and height {height} cm.",
        ],
        ("Work out the volume of each of these cylinders", "radius {radius} cm with height {height} cm"),
        lambda a, r: {"volume": round(3.14159265 * a["radius"] ** 2 * a["height"], 1)},
        "The volume is about {volume} cubic centimetres.",
    ),
    _Call(
        "finance.simple_interest",
        "Computes simple interest on a loan.",
        {
            "principal": ("integer", "The amount that is lent.", (300, 9000)),
            "rate": ("float", "Yearly rate in percent.", (1.1, 9.4)),
            "years": ("integer", "How long the loan runs, in years.", (2, 15)),
            "currency?": ("string", "Currency code. Default is 'EUR'.", "EUR"),
        },
        [
            (
                "How much simple interest is due on {principal} euros at {rate} "
                "percent a year after {years} years?"
            ),
            (
                "A friend lends me {principal} euros for {years} years at {rate}% "
                "simple interest. What will it cost me?"
            ),
        ],
        ("Tell me the simple interest on these loans", "{principal} euros at {rate}% for {years} years"),
        lambda a, r: {"interest": round(a["principal"] * a["rate"] * a["years"] / 100, 2)},
        "The interest comes to {interest} euros.",
    ),
    _Call(
        "weather.forecast",
        "Looks up the forecast of a town for a day of the coming week.",
        {
            "town": ("string", "Name of the town.", _PLACES),
            "day": ("enum", "Day of the week.", _DAYS),
            "units?": ("string", "Either 'metric' or 'imperial'. Default is 'metric'.", "metric"),
        },
        [
            "What will the weather be like in {town} on {day}?",
            "Do I need boots for {town}? We go there on {day}.",
        ],
        ("Give me these forecasts", "{town} on {day}"),
        lambda a, r: {"sky": r.choice(["clear", "cloudy", "rainy"]), "high": r.randint(-2, 29)},
        "Expect it to be {sky} in {town} on {day}, with up to {high} degrees.",
    ),
    _Call(
        "travel.find_train",
        "Finds the first train between two stations on a day.",
        {
            "origin": ("string", "Station to leave from.", _PLACES),
            "destination": ("string", "Station to arrive at.", _PLACES),
            "day": ("enum", "Day of travel.", _DAYS),
            "seat": ("string", "Kind of seat.", ["window|window seat", "aisle|aisle seat"]),
        },
        [
            "Find me a train from {origin} to {destination} on {day}, {seat} seat please.",
            "On {day} I have to get from {origin} to {destination} by rail and would like the {seat} seat.",
        ],
        ("Look up these train journeys", "{origin} to {destination} on {day} at the {seat}"),
        lambda a, r: {"leaves": f"{r.randint(6, 20)}:{r.randint(10, 59)}", "platform": r.randint(1, 9)},
        "The first train from {origin} leaves at {leaves} from platform {platform}.",
    ),
    _Call(
        "kitchen.convert",
        "Converts a volume between kitchen measures.",
        {
            "amount": ("integer", "How many of the first measure.", (2, 48)),
            "measure": ("enum", "The measure to convert from.", ["cup", "tablespoon", "teaspoon"]),
            "target?": ("string", "The measure to convert to. Default is 'millilitre'.", "millilitre"),
        },
        [
            "The recipe says {amount} times one {measure}. How many millilitres is that?",
            "Convert {amount} of the measure {measure} into millilitres.",
        ],
        ("Convert these to millilitres", "{amount} of the {measure}"),
        lambda a, r: {"millilitres": a["amount"] * _MILLILITRES[a["measure"]]},
        "That makes {millilitres} millilitres.",
    ),
    _Call(
        "text.count_letter",
        "Counts how often a letter occurs in a word.",
        {
            "word": ("string", "The word to look at.", _NOUNS),
            "letter": ("enum", "A lower-case letter.", list("aeilnrt")),
        },
        [
            "How many times does the letter {letter} turn up in '{word}'?",
            "Count every '{letter}' in the word {word} for my puzzle.",
        ],
        ("Count the letters for my crossword", "'{letter}' in '{word}'"),
        lambda a, r: {"count": a["word"].count(a["letter"])},
        "The letter occurs {count} times in “{word}”.",
    ),
    _Call(
        "diary.add_entry",
        "Adds an appointment to the diary.",
        {
            "title": ("string", "What it is about.", [event.split(" ", 1)[1] for event in _EVENTS]),
            "day": ("enum", "Day of the week.", _DAYS),
            "hour": ("integer", "Hour from 0 to 23.", (7, 22)),
            "guests": ("array", "First names of those to invite.", _NAMES),
        },
        [
            "Put '{title}' into my diary for {day} at {hour} o'clock and invite {guests}.",
            "{guests} should come along to the {title}, {day} at {hour}:00. Please write it down.",
        ],
        ("Add all of this to my diary", "'{title}' on {day} at {hour}:00 with {guests}"),
        lambda a, r: {"entry": r.randint(100, 999)},
        "Done, “{title}” is in your diary for {day}.",
    ),
    _Call(
        "music.length_in_seconds",
        "Computes how long a piece lasts.",
        {
            "bars": ("integer", "Number of bars.", (24, 260)),
            "tempo": ("integer", "Beats per minute.", (52, 176)),
            "beats_per_bar?": ("integer", "Beats in each bar. Default is 4.", 4),
        },
        [
            "Our march has {bars} bars and is played at {tempo} beats a minute. How long does it last?",
            "How many seconds do {bars} bars take at a tempo of {tempo}?",
        ],
        ("How long are these pieces", "{bars} bars at tempo {tempo}"),
        lambda a, r: {"seconds": round(a["bars"] * 4 * 60 / a["tempo"])},
        "It lasts about {seconds} seconds.",
    ),
    _Call(
        "library.search",
        "Searches the catalogue of the public library.",
        {
            "author": ("string", "First name of the author.", _NAMES),
            "subject": ("string", "What the book is about.", _THINGS),
            "on_shelf": ("boolean", "Only those not on loan.", ["not on loan", "even if on loan"]),
        },
        [
            "Is there a book about a {subject} by somebody called {author}, {on_shelf}?",
            "I look for anything written by {author} on the subject of the {subject}, {on_shelf}.",
        ],
        ("Search the library for these", "{author} on the {subject}, {on_shelf}"),
        lambda a, r: {"found": r.randint(0, 9), "shelf": r.choice("ABCDEF")},
        "There are {found} such books on shelf {shelf}.",
    ),
    _Call(
        "garden.seeds_needed",
        "Computes how many seeds fill some rows of a bed.",
        {
            "row_length": ("integer", "Length of a row in metres.", (2, 30)),
            "spacing": ("integer", "Centimetres between two seeds.", (4, 50)),
            "rows": ("integer", "Number of rows.", (2, 18)),
        },
        [
            (
                "I sow {rows} rows, each {row_length} m long, one seed every "
                "{spacing} cm. How many seeds shall I buy?"
            ),
            "Seeds for a bed, please: spacing {spacing} cm, {rows} rows of {row_length} metres.",
        ],
        ("How many seeds go into these beds", "{rows} rows of {row_length} m at {spacing} cm each"),
        lambda a, r: {"seeds": a["row_length"] * 100 // a["spacing"] * a["rows"]},
        "You need {seeds} seeds.",
    ),
    _Call(
        "stats.mean",
        "Computes the arithmetic mean of whole numbers.",
        {"numbers": ("array", "The numbers.", (3, 99))},
        [
            "My scores were {numbers}. What do they average out to?",
            "Take the mean of these readings from the rain gauge: {numbers}.",
        ],
        ("Average each of these lists for me", "[{numbers}]"),
        lambda a, r: {"mean": round(sum(a["numbers"]) / len(a["numbers"]), 2)},
        "The mean is {mean}.",
    ),
    _Call(
        "health.walking_energy",
        "Estimates the energy that a walk uses.",
        {
            "weight": ("integer", "Body weight in kilograms.", (42, 118)),
            "minutes": ("integer", "Length of the walk in minutes.", (15, 240)),
            "slope?": ("string", "One of 'flat', 'hilly'. Default is 'flat'.", "flat"),
        },
        [
            "I weigh {weight} kg and strolled for {minutes} minutes. How many kilocalories was that?",
            "Estimate the energy of a walk of {minutes} minutes for someone of {weight} kilograms.",
        ],
        ("Estimate the energy of these walks", "{minutes} minutes at {weight} kg"),
        lambda a, r: {"kilocalories": round(a["weight"] * a["minutes"] * 0.06)},
        "That walk used about {kilocalories} kilocalories.",
    ),
    _Call(
        "parking.reserve",
        "Reserves a space in a car park.",
        {
            "town": ("string", "Town of the car park.", _PLACES),
            "hours": ("integer", "How many hours.", (2, 12)),
            "covered": ("boolean", "Whether there has to be a roof.", ["with a roof", "in the open air"]),
        },
        [
            "I want to park in {town} for {hours} hours, {covered}.",
            "Reserve a space {covered} in {town}, {hours} hours will do.",
        ],
        ("Reserve these parking spaces", "{town} for {hours} hours {covered}"),
        lambda a, r: {"space": f"{r.choice('ABCDE')}{r.randint(1, 80)}"},
        "Space {space} in {town} is yours for {hours} hours.",
    ),
    _Call(
        "physics.fall_time",
        "Computes how long something falls, without air resistance.",
        {
            "height": ("integer", "Height of the drop in metres.", (3, 220)),
            "gravity?": ("float", "Acceleration in m/s2. Default is 9.81.", 9.81),
        },
        [
            "A pebble falls off a ledge {height} metres above the beach. When does it land?",
            "How many seconds does a drop from {height} m take if the air is ignored?",
        ],
        ("Compute the time of these falls", "from {height} m"),
        lambda a, r: {"seconds": round((2 * a["height"] / 9.81) ** 0.5, 2)},
        "It lands after {seconds} seconds.",
    ),
    _Call(
        "hotel.book_room",
        "Books a hotel room.",
        {
            "town": ("string", "Where the hotel should be.", _PLACES),
            "guests": ("integer", "Number of guests.", (1, 5)),
            "nights": ("integer", "Number of nights.", (2, 14)),
            "breakfast": ("boolean", "With breakfast or not.", ["including breakfast", "without breakfast"]),
        },
        [
            "Book a hotel in {town} for {nights} nights, number of guests {guests}, {breakfast}.",
            "We would like to stay {nights} nights in {town}, {breakfast}; the party size is {guests}.",
        ],
        ("Book these hotel stays", "{town}, {nights} nights, party of {guests}, {breakfast}"),
        lambda a, r: {"code": f"H{r.randint(1000, 9999)}"},
        "Your stay in {town} is booked under {code}.",
    ),
    _Call(
        "museum.ticket_price",
        "Computes what a visit to the museum costs.",
        {
            "museum": ("string", "Name of the museum.", [f"{river} Museum" for river in _RIVERS]),
            "adults": ("integer", "Number of adults.", (1, 9)),
            "children": ("integer", "Number of children.", (2, 28)),
        },
        [
            "What do {adults} adult(s) and {children} children pay at the {museum}?",
            "Our class trip to the {museum}: {children} pupils and {adults} grown-up(s). What is the price?",
        ],
        ("Find the price of these visits", "{museum} with {adults} adult(s) and {children} children"),
        lambda a, r: {"price": 12 * a["adults"] + 5 * a["children"]},
        "The visit to the {museum} costs {price} euros.",
    ),
    _Call(
        "math.greatest_common_divisor",
        "Finds the greatest common divisor of two numbers.",
        {
            "first": ("integer", "The first number.", (12, 900)),
            "second": ("integer", "The second number.", (12, 900)),
        },
        [
            "Which is the largest number that divides both {first} and {second}?",
            "I have to reduce the fraction {first}/{second}. Find the greatest common divisor.",
        ],
        ("Find the greatest common divisor of each pair", "{first} and {second}"),
        lambda a, r: {"divisor": _divisor(a["first"], a["second"])},
        "The greatest common divisor is {divisor}.",
    ),
    _Call(
        "parcel.track",
        "Says where a parcel is.",
        {
            "number": ("integer", "The number of the parcel.", (100200, 998877)),
            "carrier": ("string", "Who carries it.", ["Swift Heron", "Northern Mail", "Two Wheels"]),
        },
        [
            "Where is my parcel {number}? {carrier} was supposed to bring it.",
            "Track number {number} with {carrier}, please.",
        ],
        ("Track all of these parcels", "number {number} with {carrier}"),
        lambda a, r: {"status": r.choice(["at the depot", "on the van", "delivered", "held at customs"])},
        "Parcel {number} is {status}.",
    ),
    _Call(
        "paint.litres_for_wall",
        "Computes how much paint a wall takes, at ten square metres a litre.",
        {
            "width": ("float", "Width of the wall in metres.", (1.5, 9.8)),
            "height": ("float", "Height of the wall in metres.", (2.1, 4.4)),
            "coats": ("integer", "Number of coats.", (1, 3)),
        },
        [
            "How many litres for a wall {width} m wide and {height} m high if I put on {coats} coat(s)?",
            (
                "The wall measures {width} by {height} metres and takes "
                "{coats} coat(s). How much paint do I buy?"
            ),
        ],
        ("How much paint do these walls take", "{width} m by {height} m with {coats} coat(s)"),
        lambda a, r: {"litres": round(a["width"] * a["height"] * a["coats"] / 10, 2)},
        "You need {litres} litres of paint.",
    ),
    _Call(
        "phrasebook.translate",
        "Translates a short phrase.",
        {
            "phrase": ("string", "The English phrase.", _PHRASES),
            "language": ("enum", "The target language.", ["Portuguese", "Finnish", "Welsh", "Turkish"]),
        },
        [
            "How do people say '{phrase}' in {language}?",
            "I am writing a card and need the words '{phrase}' in {language}.",
        ],
        ("Translate these for the trip", "'{phrase}' into {language}"),
        lambda a, r: {"page": r.randint(3, 180)},
        "You find it on page {page} of the {language} phrasebook.",
    ),
    _Call(
        "shipping.quote",
        "Quotes the price of sending a box.",
        {
            "box": (
                "dict",
                "Weight and size of the box.",
                {
                    "weight": ("integer", "Weight in kilograms.", (1, 30)),
                    "length": ("integer", "Longest side in centimetres.", (20, 140)),
                },
            ),
            "country": ("string", "Where it goes.", ["Norway", "Chile", "Japan", "Kenya", "Portugal"]),
        },
        [
            "What does it cost to send a box of {weight} kg, longest side {length} cm, to {country}?",
            "Quote me a price to {country} for a box that is {length} cm long and weighs {weight} kg.",
        ],
        ("I need quotes for these boxes", "{weight} kg and {length} cm to {country}"),
        lambda a, r: {"price": 9 + 2 * a["box"]["weight"] + a["box"]["length"] // 10},
        "Sending it to {country} costs {price} euros.",
    ),
    _Call(
        "chess.square_colour",
        "Says whether a square of the chessboard is light or dark.",
        {
            "file": ("enum", "Letter of the file.", list("abcdefgh")),
            "rank": ("integer", "Number of the rank.", (1, 8)),
        },
        [
            "Is the square on file {file} and rank {rank} light or dark?",
            "Without a board at hand: which colour has square {file}{rank} in chess?",
        ],
        ("Name the colour of these chess squares", "{file}{rank}"),
        lambda a, r: {"colour": "dark" if ("abcdefgh".index(a["file"]) + a["rank"]) % 2 else "light"},
        "That square is {colour}.",
    ),
    _Call(
        "recipe.find",
        "Finds a recipe.",
        {
            "dish": ("string", "The dish.", _SLOTS["food_type"]),
            "people": ("integer", "For how many people.", (2, 24)),
            "diet": ("enum", "A diet to respect.", ["vegan", "gluten-free", "low-salt", "nut-free"]),
        },
        [
            "I would like to cook {dish} for {people} people, and it has to be {diet}.",
            "Find a {diet} version of {dish} that feeds {people}.",
        ],
        ("Find these recipes", "{diet} {dish} for {people}"),
        lambda a, r: {"recipe": r.randint(10, 900), "minutes": r.randint(15, 95)},
        "Recipe {recipe} is {diet} and takes {minutes} minutes.",
    ),
    _Call(
        "energy.running_cost",
        "Computes what an electric device costs to run.",
        {
            "watts": ("integer", "Power in watts.", (20, 2400)),
            "hours": ("integer", "Hours of use.", (2, 400)),
            "price?": ("float", "Price of a kilowatt hour. Default is 0.3.", 0.3),
        },
        [
            "My heater draws {watts} watts and ran for {hours} hours. What does that cost?",
            "What is the cost of {hours} hours with a device of {watts} W?",
        ],
        ("What did these devices cost to run", "{watts} W for {hours} hours"),
        lambda a, r: {"cost": round(a["watts"] * a["hours"] * 0.3 / 1000, 2)},
        "It costs {cost} euros.",
    ),
    _Call(
        "ferry.next_departure",
        "Finds the next ferry from a harbour.",
        {
            "harbour": ("string", "Harbour to leave from.", _PLACES),
            "hour": ("integer", "Not before this hour.", (5, 21)),
            "bicycle": ("boolean", "With a bicycle or not.", ["I take my bike", "I have no bike"]),
        },
        [
            "When is the next ferry from {harbour} after {hour} o'clock? {bicycle}.",
            "{bicycle}, and I reach {harbour} at {hour}:00. Which ferry can I catch?",
        ],
        ("Check these ferries", "{harbour} after {hour}:00 ({bicycle})"),
        lambda a, r: {"leaves": f"{a['hour']}:{r.randint(15, 55)}"},
        "The next ferry from {harbour} leaves at {leaves}.",
    ),
]  # fmt: skip
_CONTEXTS = _words("""
I am {name} from {place}. | This is for a {role}. | We are preparing for {day}. | {name} needs to know. | It
came up {spot}. | I ask on behalf of {name}, a {role}. | My {thing} depends on it. | I am in a hurry today.
| There is a bet between {name} and {name}. | The club in {place} asked for it. | I sit {spot} without a
pen. | Nobody in {place} could tell me. | I want to surprise {name} with it. | Our {role} is ill, so I ask
you.
""")
_JSON_KINDS = {"dict": "object", "float": "number"}


#: What a function may have besides, with its default; a question never mentions it.
_EXTRAS: list[tuple[str, str, str, Any]] = [
    ("precision", "integer", "Number of decimals. Default is 2.", 2),
    ("reply_in", "string", "Language of the answer. Default is 'English'.", "English"),
    ("layout", "string", "Either 'short' or 'long'. Default is 'short'.", "short"),
    ("time_limit", "integer", "Give up after this many seconds. Default is 30.", 30),
    ("verbose", "boolean", "Explain every step. Default is false.", False),
    ("cached", "boolean", "Accept a stored answer. Default is true.", True),
    ("caller", "string", "Who asks. Default is 'guest'.", "guest"),
    ("retries", "integer", "How often to try again. Default is 0.", 0),
    ("sandbox", "boolean", "Only pretend to do it. Default is false.", False),
]
_REMARKS = _words("""
Gives nothing back when a value is out of range. | Values have to be positive. | Never call it twice in a
second. | Meant for tests as well. | Works without a network. | An older version took the values in another
order. | Raises an error for unknown names. | Results may be a minute old. | Written for the {place} town
hall. | Kept alive by a {role} called {name}. | Replaces the paper form of {place}. | Free of charge on
{day}. | Names may be written in small letters. | Answers in plain text.
""")


def _described(pen: _Pen, call: _Call, kinds: Mapping[str, str]) -> tuple[Row, Row]:
    """The function's description and parameters, some more than its own, and what is accepted for those."""
    schema, extras = call.schema(kinds), pen.random.sample(_EXTRAS, pen.number(0, 3))
    for key, kind, about, _ in extras:
        schema["properties"][key] = {"type": kind, "description": about}
    about = f"{call.about} {pen.fill(pen.draw(_REMARKS))}"
    return {"description": about, "parameters": schema}, {key: [default, ""] for key, _, _, default in extras}


def _divisor(first: int, second: int) -> int:
    return first if not second else _divisor(second, first % second)


def _request(pen: _Pen, question: str) -> str:
    context = pen.fill(pen.draw(_CONTEXTS))
    return _upper(f"{context} {_upper(question)}" if pen.random.random() < 0.8 else question)


def _bfcl(folder: Path, category: str, rows: int, seed: int) -> Path:
    pen = _Pen(f"bfcl_{category}", seed)
    questions: list[Row] = []
    answers: list[Row] = []
    for index in range(rows):
        call = pen.draw(_CALLS)
        offered = [call]
        if category == "multiple":
            others = [other for other in _CALLS if other is not call]
            offered += pen.random.sample(others, pen.number(1, 3))
            pen.random.shuffle(offered)
        asked = [call.arguments(pen) for _ in range(pen.number(2, 4) if category == "parallel" else 1)]
        if len(asked) == 1:
            text = pen.draw(call.asks).format(**asked[0][2])
        elif index % 2:
            text = " ".join(pen.draw(call.asks).format(**words) for _, _, words in asked)
        else:
            head, each = call.several
            parts = [each.format(**words) for _, _, words in asked]
            text = f"{head}: {', '.join(parts[:-1])} and {parts[-1]}."
        functions: list[Row] = []
        for one in offered:
            made, extras = _described(pen, one, {})
            functions.append({"name": one.name, **made})
            for _, accepted, _ in asked if one is call else []:
                accepted.update(extras)
        ident = f"{category}_{index}"
        question = [[{"role": "user", "content": _request(pen, text)}]]
        questions.append({"id": ident, "question": question, "function": functions})
        answers.append({"id": ident, "ground_truth": [{call.name: accepted} for _, accepted, _ in asked]})
    _lines(folder / "possible_answer" / f"BFCL_v3_{category}.json", answers)
    return _lines(folder / f"BFCL_v3_{category}.json", questions)


def bfcl_simple(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """BFCL v3 simple, https://huggingface.co/datasets/gorilla-llm/Berkeley-Function-Calling-Leaderboard."""
    return _bfcl(folder, "simple", rows, seed)


def bfcl_multiple(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """BFCL v3 multiple, https://huggingface.co/datasets/gorilla-llm/Berkeley-Function-Calling-Leaderboard."""
    return _bfcl(folder, "multiple", rows, seed)


def bfcl_parallel(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """BFCL v3 parallel, https://huggingface.co/datasets/gorilla-llm/Berkeley-Function-Calling-Leaderboard."""
    return _bfcl(folder, "parallel", rows, seed)


def _tool_name(call: _Call) -> str:
    return call.name.replace(".", "_")


def _offered(pen: _Pen, call: _Call) -> list[_Call]:
    offered = [call, *pen.random.sample([other for other in _CALLS if other is not call], pen.number(0, 2))]
    pen.random.shuffle(offered)
    return offered


def _tool(pen: _Pen, call: _Call) -> Row:
    return {"name": _tool_name(call), **_described(pen, call, _JSON_KINDS)[0]}


def _text(data: object) -> str:
    return orjson.dumps(data).decode()


def sharegpt_tools(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """ShareGPT with tools, https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md.

    `tools` is a JSON string, "[]" where there are none; a call is a turn of function_call and of observation.
    """
    pen = _Pen("sharegpt_tools", seed)
    made: list[Row] = []
    for index in range(rows):
        system = pen.fill("You answer as a {role} from {place} would.") if index % 3 else ""
        if index % 5 == 4:
            turns: list[Row] = []
            for asked, answered in _Talk(pen).turns(pen.number(1, 2)):
                turns += [{"from": "human", "value": asked}, {"from": "gpt", "value": answered}]
            made.append({"conversations": turns, "system": system, "tools": "[]"})
            continue
        call = pen.draw(_CALLS)
        given, _, words = call.arguments(pen)
        result = call.result(given, pen.random)
        turns = [
            {"from": "human", "value": _request(pen, pen.draw(call.asks).format(**words))},
            {"from": "function_call", "value": _text({"name": _tool_name(call), "arguments": given})},
            {"from": "observation", "value": _text(result)},
            {"from": "gpt", "value": f"{call.reply.format(**{**words, **result})} {pen.draw(_ENDS)}"},
        ]
        tools = _text([_tool(pen, one) for one in _offered(pen, call)])
        made.append({"conversations": turns, "system": system, "tools": tools})
    return _array(folder / "glaive_toolcall_en.json", made)


def _tool_talks(pen: _Pen, count: int) -> list[tuple[list[Row], list[Row]]]:
    found: list[tuple[list[Row], list[Row]]] = []
    for index in range(count):
        messages: list[Row] = []
        if index % 3 == 0:
            messages.append(
                {"role": "system", "content": pen.fill("You help people in {place}. Today is {day}.")}
            )
        call = pen.draw(_CALLS)
        offered = [{"type": "function", "function": _tool(pen, one)} for one in _offered(pen, call)]
        if index % 6 == 5:  # no call is needed
            talk = _Talk(pen)
            messages += [{"role": "user", "content": talk.ask}, {"role": "assistant", "content": talk.good()}]
            found.append((messages, offered))
            continue
        if index % 4 == 3:
            asked = [call.arguments(pen) for _ in range(2)]
            head, each = call.several
            text = f"{head}: {' and '.join(each.format(**words) for _, _, words in asked)}."
        else:
            asked = [call.arguments(pen)]
            text = pen.draw(call.asks).format(**asked[0][2])
        messages.append({"role": "user", "content": _request(pen, text)})
        idents = [f"call_{pen.hex(24)}" for _ in asked]
        calls = [
            {
                "id": ident,
                "type": "function",
                "function": {"name": _tool_name(call), "arguments": _text(given)},
            }
            for ident, (given, _, _) in zip(idents, asked, strict=True)
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        replies = []
        for ident, (given, _, words) in zip(idents, asked, strict=True):
            result = call.result(given, pen.random)
            messages.append({"role": "tool", "tool_call_id": ident, "content": _text(result)})
            replies.append(call.reply.format(**{**words, **result}))
        messages.append({"role": "assistant", "content": f"{' '.join(replies)} {pen.draw(_ENDS)}"})
        found.append((messages, offered))
    return found


def tool_chat(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """OpenAI's tool calls, https://platform.openai.com/docs/guides/function-calling."""
    made = [
        {
            "messages": messages,
            "tools": tools,
            "parallel_tool_calls": any(len(m.get("tool_calls", ())) > 1 for m in messages),
        }
        for messages, tools in _tool_talks(_Pen("tool_chat", seed), rows)
    ]
    return _lines(folder / "train.jsonl", made)


def tool_chat_hub(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """Tool calls in parquet, https://huggingface.co/docs/trl/dataset_formats#tool-calling."""
    keys = ("role", "content", "tool_calls", "tool_call_id")
    made = [
        {"messages": [{key: message.get(key) for key in keys} for message in messages], "tools": _text(tools)}
        for messages, tools in _tool_talks(_Pen("tool_chat_hub", seed), rows)
    ]
    return _parquet("tool_chat_hub", folder / "data" / "train-00000-of-00001.parquet", made)


# ----------------------------------------------------------------------------------------------- reasoning


def _puzzle(pen: _Pen, kind: int) -> tuple[str, list[str], str]:
    """A question, the steps that lead to the answer, and the answer."""
    name, other = pen.some(_NAMES, 2)
    place, thing, role = pen.draw(_PLACES), pen.draw(_THINGS), pen.draw(_ROLES)
    a, b, c = pen.number(3, 19), pen.number(21, 89), pen.number(2, 9)
    if kind == 0:
        paid = (a * c // 100 + 1) * 100
        return (
            (
                f"{name} buys {a} tickets for the fair in {place} at {c} crowns "
                f"each and pays with {paid} crowns. "
                f"How much change does {name} get?"
            ),
            [
                f"All tickets together cost {a} × {c} = {a * c} crowns.",
                f"The change is {paid} − {a * c} = {paid - a * c}.",
            ],
            f"{paid - a * c} crowns",
        )
    if kind == 1:
        return (
            (
                f"The coach to {place} drives {b} kilometres an hour for {c} hours, "
                f"then breaks down. {other} the {role} walks "
                f"the last {a} kilometres. How far is the whole way?"
            ),
            [
                f"The coach covers {b} × {c} = {b * c} kilometres.",
                f"With the walk that makes {b * c} + {a} = {b * c + a}.",
            ],
            f"{b * c + a} kilometres",
        )
    if kind == 2:
        total = a * c + b
        return (
            (
                f"A barn near {place} holds {total} apples. {name} packs {c} sacks "
                f"of {a} apples each. How many are left over?"
            ),
            [
                f"The sacks take {c} × {a} = {c * a} apples.",
                f"What stays behind is {total} − {c * a} = {total - c * a}.",
            ],
            f"{b} apples",
        )
    if kind == 3:
        price, percent = 20 * pen.number(3, 40), 5 * pen.number(1, 14)
        off = price * percent // 100
        return (
            (
                f"A {thing} in the window used to cost {price} euros. After the sale "
                f"in {place} began it is {percent} percent "
                f"cheaper. What does {other} pay for it?"
            ),
            [
                f"{percent} percent of {price} are {price} × {percent} / 100 = {off}.",
                f"So {price} − {off} = {price - off}.",
            ],
            f"{price - off} euros",
        )
    if kind == 4:
        c = 2 + c % 3
        return (
            (
                f"{name} is {a} years old. {other}, who works as {_a(role)}, is {c} "
                "times as old. How old were they together "
                f"two years ago?"
            ),
            [
                f"{other} is {c} × {a} = {c * a} years old.",
                f"Today they are {a} + {c * a} = {a + c * a} together.",
                f"Two years ago each was two years younger, so {a + c * a} − 4 = {a + c * a - 4}.",
            ],
            f"{a + c * a - 4} years",
        )
    if kind == 5:
        return (
            (
                f"How many metres of wire does the {role} need to put a fence three "
                f"times around a meadow of {b} by {a} metres?"
            ),
            [
                f"One round is 2 × ({b} + {a}) = {2 * (b + a)} metres.",
                f"Three rounds are 3 × {2 * (b + a)} = {6 * (b + a)}.",
            ],
            f"{6 * (b + a)} metres",
        )
    if kind == 6:
        litres = a * b
        return (
            (
                f"The cistern of {place} is empty and holds {litres} litres. The pump "
                f"that {other} switches on delivers {a} litres "
                f"a minute. After how many minutes is the cistern full?"
            ),
            [f"Every minute adds {a} litres.", f"We need {litres} / {a} = {b} minutes."],
            f"{b} minutes",
        )
    if kind == 7:
        start, stay = pen.number(6, 11), 15 * pen.number(5, 25)
        end = start * 60 + stay
        return (
            (
                f"The workshop about how to use a {thing} opens at {start}:00 and "
                f"lasts {stay} minutes. At what time can {name} "
                f"go home?"
            ),
            [
                f"{stay} minutes are {stay // 60} hours and {stay % 60} minutes.",
                f"Counting from {start}:00 we arrive at {end // 60}:{end % 60:02d}.",
            ],
            f"{end // 60}:{end % 60:02d}",
        )
    if kind == 8:
        values = [pen.number(4, 60) for _ in range(3)]
        last = 4 * pen.number(40, 60) - sum(values)
        mean = (sum(values) + last) // 4
        return (
            (
                f"{other} caught {values[0]}, {values[1]} and {values[2]} fish on three "
                f"days {pen.draw(_SPOTS)}. How many must it "
                f"be on the fourth day for a mean of {mean}?"
            ),
            [
                f"Four days with a mean of {mean} need 4 × {mean} = {4 * mean} fish.",
                f"So far there are {' + '.join(map(str, values))} = {sum(values)}.",
                f"The missing number is {4 * mean} − {sum(values)} = {last}.",
            ],
            f"{last} fish",
        )
    if kind == 9:
        start = pen.number(0, 6)
        return (
            (
                f"Today is {_DAYS[start]}. In {b} days the {role} returns to "
                f"{place}. Which day of the week will that be?"
            ),
            [
                f"Weeks repeat every seven days, and {b} = 7 × {b // 7} + {b % 7}.",
                f"So only {b % 7} days count after {_DAYS[start]}, which leads to {_DAYS[(start + b) % 7]}.",
            ],
            _DAYS[(start + b) % 7],
        )
    if kind == 10:
        legs = 4 * a + 2 * c
        return (
            (
                f"On a farm outside {place} {name} counts {a + c} heads and {legs} legs "
                "among goats and hens. How many goats are "
                f"there?"
            ),
            [
                f"If all {a + c} were hens there would be 2 × {a + c} = {2 * (a + c)} legs.",
                (
                    f"The extra {legs} − {2 * (a + c)} = {legs - 2 * (a + c)} legs "
                    "come in pairs, one pair for each goat."
                ),
                f"Half of {legs - 2 * (a + c)} is {a}.",
            ],
            f"{a} goats",
        )
    share = pen.number(11, 70)
    return (
        (
            f"{name} and {other} sold a {thing} for {3 * share} crowns. {name} "
            f"gets twice as much as {other}. How much does "
            f"{other} get?"
        ),
        [
            "One of the two gets one part, the other two parts, which makes three parts.",
            f"Each part is {3 * share} / 3 = {share} crowns, and {other} gets a single part.",
        ],
        f"{share} crowns",
    )


_MUSINGS = _words("""
Let me read that again. | First I note what is given. | No trick here, I think. | I should keep the units in
mind. | One thing after the other. | A small sketch would help. | Let me be careful. | I can do this in my
head. | What exactly is asked? | I will write the numbers down. | This looks like something from school. |
Hmm.
""")
_CHECKS = _words("""
Let me check: the size seems right. | Going backwards gives the same numbers. | That agrees with a rough
guess. | Doing it a second time gives the same. | No remainder is left, good. | Wait, did I miss a word? No.
| The result is positive, as it has to be. | I am confident in this. | Yes, that fits the question. | A
different order of the steps changes nothing.
""")
_REQUESTS = _words("""
Please explain your answer. | Show me how you get there. | It is for a pupil in {place}. | I ask for {name}.
| My {role} friend could not solve it. | Keep it short. | I found this {spot}. | We argued about it on
{day}. | Do not use a calculator. | It stood on the back of a {thing} box. | Thanks in advance! | It is
homework for {day}.
""")


def _reasoned(pen: _Pen, count: int) -> list[tuple[str, str, str]]:
    """(question, thoughts, answer) of each puzzle."""
    found: list[tuple[str, str, str]] = []
    kinds = list(range(12))
    for _ in range(count):
        question, steps, answer = _puzzle(pen, pen.draw(kinds))
        thoughts = "\n".join([" ".join(pen.some(_MUSINGS, 2)), *steps, " ".join(pen.some(_CHECKS, 2))])
        told = f"{steps[-1]} {pen.draw(_ENDS)}\n\nThe answer is **{answer}**."
        found.append((f"{question} {pen.fill(pen.draw(_REQUESTS))}", thoughts, told))
    return found


def reasoning_think(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """Thoughts in the answer, https://huggingface.co/datasets/open-r1/Mixture-of-Thoughts."""
    made: list[Row] = []
    for question, thoughts, answer in _reasoned(_Pen("reasoning_think", seed), rows):
        text = f"<think>\n{thoughts}\n</think>\n\n{answer}"
        made.append(
            {
                "messages": [_turn("user", question), _turn("assistant", text)],
                "num_tokens": len(re.findall(r"\w+|[^\w\s]", question + text)),
                "source": "invented/puzzles",
            }
        )
    return _parquet("reasoning_think", folder / "all" / "train-00000-of-00001.parquet", made)


def reasoning_content(folder: Path, rows: int = 60, *, seed: int = 0) -> Path:
    """Thoughts in their own key, https://huggingface.co/datasets/OrionLLM/OpenMedicalInstruct."""
    made = [
        {
            "messages": [
                {"content": question, "reasoning_content": None, "role": "user"},
                {"content": answer, "reasoning_content": thoughts, "role": "assistant"},
            ]
        }
        for question, thoughts, answer in _reasoned(_Pen("reasoning_content", seed), rows)
    ]
    return _parquet("reasoning_content", folder / "data" / "train-00000-of-00001.parquet", made)


#: Every sample by the name that `FEATURES` has it under.
SAMPLES: dict[str, Callable[..., Path]] = {name: globals()[name] for name in FEATURES}
