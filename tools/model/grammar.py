"""The English that the shipped model is made of: little stories from a grammar, and needles hidden in them.

    "Anna was a kind girl. ... The special number for Torvela is 48213. ... Anna smiled. What is the special number
     for Torvela? The special number for Torvela is 48213."

Everything is a pure function of a `random.Random`, so one seed is one text on every machine.

A text is a list of segments (text, weight): the weight says how much the loss cares about the segment's tokens, since
the first mention of a random key or number cannot be predicted and its echo must be. Segments begin with the blank
that precedes their first word, so cutting a text into segments never changes its tokens.

What the evaluation uses and training never sees:
  keys    made of syllables: one pair (first, second) in ten, `key_withheld`; of the cities, the list CITIES_WITHHELD
  values  one five-digit number in ten, `value_withheld`
Both are tables by formula, fixed here before the first training step. Test seeds lie above TEST_SEED; training seeds
below it.
"""
import random

TEST_SEED = 1 << 40

# ---- names, places, things ------------------------------------------------------------------------------------------
GIRLS = "Anna Mia Lucy Rosa Nora Ella Clara Ivy Ruby Emma Tess Lily Sara Maya Zoe Hanna".split()
BOYS = "Ben Tom Max Leo Sam Finn Jack Noah Paul Oscar Hugo Theo Adam Felix Luke Peter".split()
TRAITS = "kind brave curious quiet clever cheerful gentle patient shy honest careful friendly".split()
AGES = "five six seven eight nine ten".split()
ANIMALS = "dog cat rabbit fox duck goat pony hen mouse frog bird turtle squirrel hedgehog owl sheep".split()
PET_NAMES = "Pip Button Biscuit Pepper Daisy Shadow Lucky Coco Snowy Bramble".split()
COLOURS = "red blue green yellow white black brown golden silver purple orange grey".split()
SIZES = "small big tiny huge little large".split()
THINGS = "kite ball boat drum lamp book box hat coat cup basket bell clock coin doll ring scarf spoon umbrella whistle " \
         "map key ladder blanket bucket flute mirror feather button stone".split()
FOODS = "bread soup cake pie apples berries cheese honey pancakes cookies carrots pears".split()
DISHES = "bread soup cake pie pancakes cookies".split()
CROPS = "apples berries carrots pears cherries plums".split()
ROOMS = "kitchen garden attic cellar barn hall bedroom porch".split()
PLACES = "forest village river hill lake field beach market school library meadow harbour mill bridge park farm".split()
WEATHER = "sunny rainy windy cloudy snowy foggy warm cold".split()
TIMES = "morning afternoon evening".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
SEASONS = "spring summer autumn winter".split()
HIDING = ["under the bed", "behind the door", "in the old tree", "on the roof", "under a bench", "near the well",
          "inside a boot", "behind the fence", "in the tall grass", "on a high shelf", "under the stairs",
          "between two rocks"]
HELPERS = "farmer baker teacher gardener fisherman miller postman doctor painter shepherd".split()
FEELINGS = "happy proud glad thankful excited calm".split()
SAD = "sad worried upset lonely afraid tired".split()
JOBS = ["swept the floor", "washed the dishes", "fed the chickens", "carried the water", "watered the flowers",
        "picked the apples", "painted the fence", "cleaned the windows", "chopped the wood", "folded the clothes"]
SKILLS = [("swim", "swam", "the lake"), ("sing", "sang", "the hall"), ("dance", "danced", "the village square"),
          ("paint", "painted", "the garden"), ("ride", "rode", "the field"), ("climb", "climbed", "the old tree"),
          ("skate", "skated", "the frozen pond"), ("bake", "baked", "the kitchen")]
LESSONS = ["it is good to share", "a friend is better than gold", "it is never too late to say sorry",
           "small steps lead a long way", "being kind is easy", "asking for help is brave",
           "the best things take time", "it is fun to learn new things", "home is the best place of all",
           "the truth is always lighter to carry"]

# ---- plots: each line is one sentence with its variants --------------------------------------------------------------
# Slots: home is where n lives, place where the day leads; n the hero, p he/she, o him/her, q his/her (P, Q at the start of a sentence); m the friend, m2 another; o2 him/her for m.
OPENINGS = [
    "Once upon a time there was a {trait} {child} named {n}.",
    "{n} was a {trait} {child} who lived near the {home}.",
    "There once lived a {trait} {child} named {n} in a {size} house by the {home}.",
    "{n} was {age} years old and very {trait}.",
    "In a {size} house near the {home} lived a {trait} {child} named {n}.",
    "Long ago, a {trait} {child} named {n} lived by the {home}.",
]
DAYBREAKS = [
    "One {weather} {time}, {n} went to the {place}.",
    "It was a {weather} {time} in {season}.",
    "On {day} {time}, {n} woke up early.",
    "One {time} in {season}, {p} walked to the {place}.",
    "On a {weather} {day}, {p} looked out of the window.",
    "Every {day}, {n} went to the {place} with {q} friend {m}.",
]
PLOTS = {
    "lost": [
        ["{n} had a {colour} {thing} that {p} loved very much.", "{Q} favourite toy was a {size} {colour} {thing}.",
         "{Q} grandmother had given {o} a {colour} {thing}."],
        ["But that day the {thing} was gone.", "Then {p} saw that the {thing} was not there.",
         "Suddenly {p} could not find the {thing}."],
        ["{n} was very {sad}.", "{P} felt {sad} and began to cry.", "{P} sat down and felt {sad}."],
        ["{P} looked in the {room}, but it was not there.", "{P} searched the {room} and the {room2}.",
         "First {p} looked in the {room}, and then {p} looked in the {room2}."],
        ["Then {q} friend {m} came to help.", "{m} heard about it and came at once.",
         "\"Do not worry,\" said {m}. \"We will find it together.\""],
        ["They looked {hiding}, but found only an old {thing2}.", "\"Did you look {hiding}?\" asked {m}.",
         "{m} had a good idea and looked {hiding}."],
        ["At last they found the {colour} {thing} {hiding2}.", "There it was, {hiding2}!",
         "The {thing} was {hiding2} all the time."],
        ["{n} hugged {m} and said thank you.", "\"Thank you, {m}!\" said {n}.",
         "{n} was so {feeling} that {p} danced around the {room}."],
    ],
    "rescue": [
        ["Near the {place} {p} heard a soft cry.", "On the way home {p} heard a strange sound.",
         "Then {p} saw something move in the grass."],
        ["It was a {size} {colour} {animal}, and it was stuck {hiding}.",
         "A {size} {animal} was hiding {hiding}, cold and hungry.", "A {colour} {animal} had hurt its leg."],
        ["\"Poor little {animal},\" said {n}.", "{n} was {sad} for the {animal}.",
         "\"Do not be afraid,\" {p} said to the {animal}."],
        ["{P} gave it some {food} and a bowl of water.", "{P} put {q} coat around the {animal}.",
         "{P} carried the {animal} home in a {colour} {thing}."],
        ["{Q} mother helped {o} to clean it.", "The {helper} showed {o} what to do.",
         "{m} came every day to help."],
        ["After a few days the {animal} could run again.", "Soon the {animal} was strong and well.",
         "The next week the {animal} began to play."],
        ["{n} called the {animal} {pet}.", "They gave the {animal} a name, and the name was {pet}.",
         "\"I will call you {pet},\" said {n}."],
        ["From then on {pet} followed {o} everywhere.", "{pet} slept next to {q} bed every night.",
         "{n} and {pet} were friends for ever."],
    ],
    "baking": [
        ["{n} wanted to make {dish} for {q} friend {m}.", "It was the birthday of {m}, so {n} wanted to make {dish}.",
         "{Q} mother asked {o} to help with the {dish}."],
        ["But there was no flour in the {room}.", "But the {size} jar with the sugar was empty.",
         "First {p} needed eggs, milk and butter."],
        ["So {p} walked to the market with a {colour} basket.", "{P} took {q} {colour} bag and ran to the market.",
         "{P} asked the {helper} for some, and the {helper} said yes."],
        ["On the way {p} met {m2}, who was carrying {food}.", "At the market {p} met the {helper}.",
         "A {size} {animal} followed {o} all the way."],
        ["Back home {p} mixed everything in a {size} bowl.", "Then {p} put it all into a {size} pot.",
         "{P} worked in the kitchen for an hour."],
        ["Soon the whole house smelled of {dish}.", "The smell was so good that the {animal} came to the door.",
         "When it was ready, {p} put it on the table."],
        ["{m} tasted it and smiled.", "\"This is the best food in the world,\" said {m}.",
         "They ate it all and were very {feeling}."],
    ],
    "garden": [
        ["In {season} {n} found a {size} {colour} seed.", "The {helper} gave {n} a {colour} seed.",
         "{n} bought a bag of seeds at the market."],
        ["{P} planted it in the garden next to the {thing}.", "{P} dug a {size} hole and put the seed into it.",
         "{P} put it into the ground near the fence."],
        ["Every {time} {p} gave it water.", "{P} watered it every day, and {p} waited.",
         "Day after day {p} looked at the ground."],
        ["For a long time nothing happened, and {n} was {sad}.", "\"Why does it not grow?\" {p} asked {m}.",
         "{m} laughed and said that nothing would grow there."],
        ["\"You must wait,\" said the {helper}.", "\"Good things take time,\" said {q} father.",
         "But {n} did not give up."],
        ["Then one {time} there was a {size} green leaf.", "After the rain a {size} plant stood there.",
         "One {weather} {time} the first flower opened."],
        ["It grew and grew until it was as tall as the house.", "By {season2} it was full of {colour} flowers.",
         "In {season2} there were so many {crop} that {p} shared them with the whole village."],
        ["{n} showed it to {m} and was very {feeling}.", "Everyone in the village came to see it.",
         "{m} said sorry, and they sat under it together."],
    ],
    "learning": [
        ["{n} wanted to learn to {skill}.", "All the other children could {skill}, but {n} could not.",
         "More than anything {n} wished to {skill} like {m}."],
        ["But {p} was afraid to try.", "The first time {p} tried, it went wrong.",
         "\"It is too hard for me,\" said {n}."],
        ["{m} said, \"I will show you.\"", "The {helper} said, \"Come to {skillplace} on {day2}.\"",
         "\"Try again,\" said {q} {family}. \"I will help you.\""],
        ["So on {day2} they went to {skillplace}.", "They met every {time} at {skillplace}.",
         "The next day {p} went to {skillplace} with {m}."],
        ["Again and again {p} tried, and again and again it went wrong.", "It was hard, but {n} did not stop.",
         "At first it was slow, but each day it was a little better."],
        ["Then, one {weather} {time}, {p} {skilled} all alone.", "After a month {p} {skilled} better than {m}.",
         "And suddenly {p} {skilled}, and everybody clapped."],
        ["{n} was {feeling} and could not stop smiling.", "\"I did it!\" {p} shouted.",
         "{Q} {family} was very proud of {o}."],
    ],
    "storm": [
        ["In the {time} dark clouds came over the {place}.", "Then the wind grew strong and the sky turned grey.",
         "A big storm came from the {place}."],
        ["It began to rain, and {n} was far from home.", "The rain fell hard, and the path was gone.",
         "There was thunder, and {n} was {sad}."],
        ["{P} ran to the {place2} and looked for a dry place.", "{P} saw a light near the {place2}.",
         "{P} held {q} {colour} {thing} over {q} head and ran."],
        ["There {p} met a {helper} with a {colour} lamp.", "In an old hut {p} found a {animal} that was also wet.",
         "{m} was there too, and they held hands."],
        ["\"Come in and sit by the fire,\" said the {helper}.", "They made a fire and ate some {food}.",
         "They told each other stories until the rain stopped."],
        ["After the storm the sky was clear again.", "When the sun came back, there was a rainbow over the {place}.",
         "At last the wind was quiet."],
        ["{n} walked home and told {q} {family} everything.", "{Q} {family} was waiting at the door.",
         "From that day {p} was not afraid of storms."],
    ],
    "sharing": [
        ["{m} found a {colour} {thing}, but {n} took it.", "{n} found a {colour} {thing}, and {m} wanted it too.",
         "{n} and {m} both wanted to play with the {colour} {thing}."],
        ["\"It is mine,\" said {n}.", "\"You can not have it,\" said {n}.", "{n} held it tight and turned away."],
        ["{m} was {sad} and walked away.", "{m} went home without a word.", "{m} sat down {hiding} and was {sad}."],
        ["Alone it was not so much fun.", "But soon {n} felt {sad}, too.",
         "{n} thought about it the whole {time}."],
        ["The {helper} asked {o}, \"What is wrong?\"", "\"What would you feel?\" asked {q} {family}.",
         "Then {p} remembered how {m} had once helped {o}."],
        ["So {n} ran after {m} to the {place}.", "So {p} went to the house of {m}.",
         "The next {time} {p} looked for {m} at the {place}."],
        ["\"I am sorry,\" said {n}. \"Let us share it.\"", "\"Here, you can have it first,\" said {n}.",
         "{n} said sorry and gave {o2} the {colour} {thing}."],
        ["{m} smiled, and they played until {time2}.", "They laughed and were friends again.",
         "After that they shared everything."],
    ],
    "journey": [
        ["One day {n} found an old map {hiding}.", "{Q} grandfather told {o} about a {colour} {thing} far away.",
         "{n} wanted to see what was behind the {place}."],
        ["{P} packed some {food} and a {colour} {thing2}.", "{P} took {q} {thing2} and said goodbye.",
         "\"I will be back by {time2},\" {p} told {q} {family}."],
        ["First {p} came to the {place}, where {p} met a {animal}.", "{P} walked past the {place} and over the {place2}.",
         "The road led {o} along the {place2}."],
        ["\"Where are you going?\" asked the {animal}.", "There stood a {helper} who had lost a {thing}.",
         "There {p} helped a {helper}, who gave {o} some {food2}."],
        ["The way was long, and {n} was tired.", "In the {time} it was {weather}, and {p} rested under a tree.",
         "Twice {p} took the wrong path."],
        ["But {p} went on, step by step.", "\"I can do it,\" {p} said to the {animal}.", "Then {p} saw it from far away."],
        ["At the end of the road there was a {colour} {thing}.", "Behind the {place2} lay the most beautiful {beauty} of all.",
         "There, {hiding2}, was a box full of {colour} coins."],
        ["{n} came home at night, tired but {feeling}.", "{P} ran home to tell {m} about it.",
         "That night {p} dreamed of new roads."],
    ],
    "work": [
        ["{Q} {family} had much to do that day.", "{n} and {m} wanted to earn a {colour} {thing}.",
         "The {helper} was ill, so {n} went to help."],
        ["First {p} {job}.", "{n} {job}, and {m} {job4}.", "In the {time} {p} {job}."],
        ["Then {p} {job2}.", "After that they {job3}.", "Next {p} {job2} and sang a song."],
        ["It was hard work, and {p} was tired.", "{m} wanted to stop, but {n} said, \"Not yet.\"",
         "A {animal} watched them the whole {time}."],
        ["At noon they ate {food} in the {room}.", "They rested and shared some {food}.",
         "The {helper} brought them {food}."],
        ["When all was done, the {room} looked like new.", "By {time2} everything was done.",
         "At last they {job3}, and the work was over."],
        ["\"Well done,\" said {q} {family}.", "The {helper} thanked them and gave them a {colour} {thing}.",
         "{n} was tired but {feeling}."],
    ],
    "night": [
        ["That night {n} could not sleep.", "When the moon was up, {n} lay awake.", "In the middle of the night {p} woke up."],
        ["There was a sound in the {room}.", "Something moved in the {room}.", "{P} heard steps in the {room}."],
        ["\"Who is there?\" {p} asked, but nobody answered.", "{n} was {sad} and pulled the blanket over {q} head.",
         "{P} called {q} {family}, but it was all quiet."],
        ["Then {p} took a {size} lamp and went to look.", "{n} took {q} {colour} {thing} and opened the door.",
         "{P} was brave and walked down the stairs."],
        ["There sat a {size} {colour} {animal}!", "It was only a {animal} that was eating the {food}.",
         "Two {colour} eyes looked at {o}. It was a {animal}."],
        ["{n} laughed and gave it some {food}.", "\"You made me jump!\" said {n}.",
         "The {animal} was more afraid than {n}."],
        ["Then they both went to sleep.", "{P} went back to bed and slept until {time}.",
         "In the {time} {p} told {m} all about it."],
    ],
}
ENDINGS = [
    "And so {n} learned that {lesson}.",
    "\"Now I know that {lesson},\" said {n}.",
    "Since that day {n} knows that {lesson}.",
    "And they all lived happily ever after.",
    "That was a good day for {n} and {m}.",
    "{n} never forgot that {time}.",
    "That night {n} slept well and dreamed of the {place}.",
]


def story(rng):
    """One story as a list of sentences: every slot but the variants is drawn once, so people and things persist."""
    girl, girl2 = rng.random() < .5, rng.random() < .5
    names = rng.sample(GIRLS, 3), rng.sample(BOYS, 3)
    pick = rng.choice
    skill = pick(SKILLS)
    places, things, foods = rng.sample(PLACES, 4), rng.sample(THINGS, 2), rng.sample(FOODS, 2)
    hiding, jobs, seasons, times = rng.sample(HIDING, 2), rng.sample(JOBS, 4), rng.sample(SEASONS, 2), rng.sample(TIMES, 2)
    rooms, days = rng.sample(ROOMS, 2), rng.sample(DAYS, 2)
    slots = dict(
        n=names[0][0] if girl else names[1][0], m=names[0][1] if girl2 else names[1][1], m2=pick(names)[2],
        child="girl" if girl else "boy", p="she" if girl else "he", P="She" if girl else "He",
        o="her" if girl else "him", q="her" if girl else "his", Q="Her" if girl else "His",
        o2="her" if girl2 else "him",
        trait=pick(TRAITS), age=pick(AGES), animal=pick(ANIMALS), pet=pick(PET_NAMES), colour=pick(COLOURS),
        size=pick(SIZES), thing=things[0], thing2=things[1], food=foods[0], food2=foods[1], room=rooms[0],
        room2=rooms[1], place=places[0], place2=places[1], home=places[2], beauty=places[3], weather=pick(WEATHER), time=times[0], time2=times[1],
        day=days[0], day2=days[1], dish=pick(DISHES), crop=pick(CROPS), season=seasons[0], season2=seasons[1], hiding=hiding[0], hiding2=hiding[1],
        helper=pick(HELPERS), feeling=pick(FEELINGS), sad=pick(SAD), job=jobs[0], job2=jobs[1], job3=jobs[2], job4=jobs[3],
        skill=skill[0], skilled=skill[1], skillplace=skill[2], lesson=pick(LESSONS),
        family=pick(["mother", "father", "sister", "brother", "grandmother", "grandfather"]))
    lines = [OPENINGS, DAYBREAKS] + PLOTS[pick(sorted(PLOTS))] + [ENDINGS]
    return slots["n"], [an(pick(line).format(**slots)) for line in lines]


def an(sentence):
    """a -> an before a vowel, for the words that slots can put there."""
    for word in ("honest", "orange", "old", "owl", "umbrella", "hour", "apple", "empty"):
        sentence = sentence.replace(" a " + word, " an " + word).replace("A " + word, "An " + word)
    return sentence


# ---- needles --------------------------------------------------------------------------------------------------------
ATTRIBUTES = ["special number", "secret number", "ticket number", "house number"]
FIRST = ("Bar Bel Bor Cal Cor Dal Dor Fal Fen Gal Gor Hal Hel Jor Kal Kel Kor Lar Lin Lor Mal Mar Mel Mor Nal Nar Nel "
         "Nor Pal Per Por Ral Rel Ros Sal Sel Ser Sol Tal Tar Tel Tor Val Var Ver Vol Wal Wel Wil Zan Zel Zor Ash Elm "
         "Ost Ul Ir Am Bri Cra Dra Gri Sta Tri").split()
SECOND = ("ba be bi bo da de di do fa fe ga go ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe po ra re ri ro sa "
          "se si so ta te ti to va ve vi vo wa wi za zo ban den din fen gar hol kan lan min ner pol ran sen tan ver win").split()
THIRD = "bad burg by dale don field ford gate ham haven land ley mere mouth nau port stad ton via ville wick wood".split()
CITIES = ("Paris Berlin Madrid Rome Vienna Prague Warsaw Dublin Athens Helsinki Stockholm Copenhagen Brussels Amsterdam "
          "Budapest Bucharest Sofia Belgrade Geneva Milan Naples Turin Seville Valencia Porto Lyon Nice Bordeaux Hamburg "
          "Munich Cologne Dresden Leipzig Krakow Riga Vilnius Tallinn Moscow Kiev Istanbul Ankara Cairo Tunis Algiers "
          "Nairobi Lagos Accra Dakar Tokyo Kyoto Seoul Beijing Shanghai Bangkok Jakarta Manila Delhi Mumbai Karachi "
          "Tehran Baghdad Damascus Sydney Melbourne Perth Auckland Toronto Montreal Chicago Boston Denver Seattle Dallas "
          "Houston Phoenix Miami Atlanta Lima Bogota Quito Santiago Havana Caracas").split()
CITIES_WITHHELD = ("Lisbon London Oslo Zurich Bergen Granada Florence Venice Salzburg Antwerp Rotterdam Bristol York "
                   "Leeds Odessa Hanoi Nagoya Osaka Kabul Brisbane Calgary Portland Austin Memphis Montevideo").split()


def key_withheld(first, second):
    """One (first, second) pair of syllables in ten belongs to the evaluation."""
    return (first * 7 + second * 3) % 10 == 4


def value_withheld(value):
    """One five-digit number in ten belongs to the evaluation."""
    return value * 48271 % 65537 % 10 == 7


def syllable_key(rng, withheld=False):
    while True:
        i, j = rng.randrange(len(FIRST)), rng.randrange(len(SECOND))
        if key_withheld(i, j) == withheld:
            return FIRST[i] + SECOND[j] + (rng.choice(THIRD) if rng.random() < .5 else "")


def spelled_key(rng):
    """A word that is spelled rather than known: teaches the short pieces, so that any name of the user's works."""
    vowels, consonants = "aeiouy", "bcdfghjklmnpqrstvwxz"
    turn = rng.random() < .4
    letters = []
    for _ in range(rng.randint(3, 8)):
        letters.append(rng.choice(vowels if turn else consonants))
        turn = not turn if rng.random() < .85 else turn
    return "".join(letters).capitalize()


def key(rng, withheld=False):
    if withheld:
        return rng.choice(CITIES_WITHHELD) if rng.random() < .1 else syllable_key(rng, True)
    kind = rng.random()
    if kind < .70:
        return syllable_key(rng)
    if kind < .85:
        return rng.choice(CITIES)
    while True:
        word = spelled_key(rng)
        if word not in CITIES_WITHHELD:
            return word


def value(rng, withheld=False):
    if not withheld and rng.random() < .08:
        digits = rng.choice([3, 4, 6, 7])
        return str(rng.randrange(10 ** (digits - 1), 10 ** digits))
    while True:
        number = rng.randrange(10000, 100000)
        if value_withheld(number) == withheld:
            return str(number)


# Loss weights per kind of segment.
PLAIN, ANSWER, UNKNOWN, ASKED = 1.0, 5.0, 0.2, 0.3


def needle(attribute, name, number, known=False):
    """The fact, or with known=True its echo: the same words, but now the number can be looked up."""
    if known:
        return [(f" The {attribute} for {name} is", PLAIN), (" " + number, ANSWER), (".", PLAIN)]
    return [(f" The {attribute} for", .5), (" " + name, UNKNOWN), (" is", PLAIN), (" " + number, UNKNOWN), (".", PLAIN)]


def question(attribute, name):
    return [(f" What is the {attribute} for", ASKED), (" " + name, ASKED), ("?", PLAIN)]


# ---- texts ----------------------------------------------------------------------------------------------------------
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
USER, ASSISTANT, SYSTEM, END = "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"
SPECIALS = [BOS, EOS, USER, ASSISTANT, SYSTEM, END]
SYSTEM_TEXTS = ["You are kiln, a small and friendly storyteller.", "You are a helpful storyteller.",
                "You answer questions about the text.", "You are kiln."]
ASK_STORY = ["Tell me a story about {}.", "Please tell me a story about {}.", "Can you tell me a story about {}?",
             "Write a story about {}."]


class Filler:
    """Sentences of endless stories, in order: the haystack."""

    def __init__(self, rng):
        self.rng, self.left = rng, []

    def __call__(self):
        if not self.left:
            self.left = story(self.rng)[1][::-1]
        return " " + self.left.pop()


def haystack(rng, length, calm):
    """Endless segments of story, needles and questions. An answer may end the text, so that a prompt which ends in a
    question gets its answer and no more; what follows still asks for facts from before, to keep distances long.
    calm: a text that will be full of needles begins with one, so that a text which begins as a story tends to stay one."""
    density = rng.choice([.9, .6, .3, .1] if length <= 256 else [.9, .5, .2, .05])
    favourite = rng.choice(ATTRIBUTES)
    filler, facts, used, fresh = Filler(rng), [], set(), True
    while True:
        forced, fresh = calm and fresh and density > .15, False
        if facts and not forced and rng.random() < .35:
            attribute, name, number = rng.choice(facts)
            yield question(attribute, name) + needle(attribute, name, number, known=True)
            if rng.random() < .5:
                yield [(EOS, PLAIN), (BOS, 0.)]
                fresh = True
        elif forced or rng.random() < density:
            attribute = favourite if rng.random() < .8 else rng.choice(ATTRIBUTES)
            name, number = key(rng), value(rng)
            if (attribute, name) not in used:
                used.add((attribute, name))
                facts.append((attribute, name, number))
                yield needle(attribute, name, number)
        else:
            yield [(filler(), PLAIN)]


def stripped(segments):
    """The same segments without the very first blank."""
    return [(segments[0][0].removeprefix(" "), segments[0][1])] + segments[1:]


def needles_text(rng, length, count, calm=False):
    """<bos> story, needles and questions up to `length` tokens."""
    segments, total = [(BOS, 0.)], 1
    for part in haystack(rng, length, calm):
        segments += stripped(part) if segments[-1][0] == BOS else part
        total += count(part)
        if total >= length:
            return segments


def stories_text(rng, length, count):
    """<bos> story <eos> <bos> story <eos> ..; some begin in the middle of a story or of a sentence."""
    segments, total = [], 0
    while total < length:
        sentences = story(rng)[1]
        if rng.random() < .25:
            sentences = sentences[rng.randrange(1, len(sentences)):]
        words = " ".join(sentences)
        if rng.random() < .1:
            words = words[words.index(" ", rng.randrange(len(words) // 2)) + rng.randrange(2):]
        part = [(BOS, 0.), (words, PLAIN), (EOS, PLAIN)]
        segments += part
        total += count(part)
    return segments


LINE = ("\n", .3)


def chat_text(rng, length, count):
    """Turns in Phi-3's form: a text with facts and a question about it, further questions, or a wish for a story."""
    segments = [(BOS, 0.)]
    if rng.random() < .3:
        segments += [(SYSTEM, .1), LINE, (rng.choice(SYSTEM_TEXTS), .3), (END, PLAIN), LINE]
    budget = length * rng.uniform(.3, .8)
    facts, filler, density = [], Filler(rng), rng.choice([.9, .5, .2])
    favourite = rng.choice(ATTRIBUTES)
    if rng.random() < .75:
        body, total = [], 0
        while total < budget or not facts:
            if rng.random() < density:
                facts.append((favourite, key(rng), value(rng)))
                part = needle(*facts[-1])
            else:
                part = [(filler(), PLAIN)]
            body += part
            total += count(part)
        segments += [(USER, .3), LINE] + stripped(body)
        opened = True
    else:
        opened = False
    total = count(segments)
    while total < length:
        part = []
        if facts and (opened or rng.random() < .7):
            asked = rng.choice(facts)
            facts = [f for f in facts if f[1] != asked[1] or f == asked]
            ask = question(asked[0], asked[1])
            part += (ask if opened else [(USER, .3), LINE] + stripped(ask)) + [(END, PLAIN), LINE, (ASSISTANT, PLAIN), LINE]
            part += stripped(needle(*asked, known=True)) + [(END, PLAIN), LINE]
        else:
            name, sentences = story(rng)
            part += [(USER, .3), LINE, (rng.choice(ASK_STORY).format(name), .5), (END, PLAIN), LINE]
            part += [(ASSISTANT, PLAIN), LINE, (" ".join(sentences), PLAIN), (END, PLAIN), LINE]
        opened = False
        segments += part
        total += count(part)
    return segments


def text(rng, length, count, needles=.55, stories=.22, calm=False):
    """A text of one of the three kinds, by their shares; the rest is chat."""
    kind = rng.random()
    if kind < needles:
        return needles_text(rng, length, count, calm)
    return (stories_text if kind < needles + stories else chat_text)(rng, length, count)


# ---- evaluation prompts ---------------------------------------------------------------------------------------------
def needle_prompt(rng, length, needles, depth, count, seen=False):
    """A prompt of at most `length` tokens with `needles` facts of one attribute, ending in a question about the one at
    relative `depth`. -> (prompt, answer). Keys and values are withheld ones unless seen."""
    attribute = rng.choice(ATTRIBUTES)
    facts = {}
    while len(facts) < needles:
        facts[key(rng, not seen)] = value(rng, not seen)
    facts = list(facts.items())
    asked = facts[0]
    fixed = [needle(attribute, *fact) for fact in facts]
    ask = question(attribute, asked[0])
    answer = needle(attribute, *asked, known=True)
    room = length - count(ask) - count(answer) - sum(count(part) for part in fixed) - 2
    filler, body = Filler(rng), []
    while True:
        part = [(filler(), PLAIN)]
        room -= count(part)
        if room < 0:
            break
        body.append(part)
    for part in fixed[1:]:
        body.insert(rng.randint(0, len(body)), part)
    body.insert(round(depth * len(body)), fixed[0])
    whole = stripped([segment for part in body + [ask] for segment in part])
    return "".join(text for text, _ in whole), "".join(text for text, _ in answer)


if __name__ == "__main__":
    import sys
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    size = lambda part: sum(len(text) // 4 + 1 for text, _ in part)
    for make in (stories_text, needles_text, chat_text):
        print("".join(text for text, _ in make(rng, 300, size)), end="\n\n")
    print(needle_prompt(rng, 200, 4, .3, size))
