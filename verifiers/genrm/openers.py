"""Words that announce an answer and are none: the "master keys" that many judges take for one.

arXiv 2507.08794 lists ten ("Solution", "Thought process:", "Let's solve this problem step by step.", and such in
Chinese, Japanese and Spanish, besides blanks and punctuation) and trains judges against them. A list of sentences would
catch those ten alone. So there are two rules, ours. A text announces where all its words are of the vocabulary of
announcing and some of them are the core of an announcement: it has no word left to answer with. And one short line that
ends with a colon announces, in any language.
"""

from __future__ import annotations

import re
import unicodedata

MAX_WORDS = 60  # different ones
MAX_TITLE = 8  # words of a text that announces by a noun alone: "My detailed solution"
MAX_LINE = 80  # characters of a line that ends with a colon

# Announcing nouns: alone, or with words of the vocabulary around them, they announce.
_NOUNS = """
solution solutions answer answers explanation reasoning analysis thought thoughts thinking proof approach response
derivation conclusion workings rationale
solución respuesta explicación razonamiento análisis resultado desarrollo
réponse explication raisonnement analyse démarche résolution
lösung antwort erklärung begründung lösungsweg gedankengang überlegung rechenweg
soluzione risposta spiegazione ragionamento analisi svolgimento
solução resposta explicação raciocínio análise resolução
решение ответ объяснение рассуждение анализ
oplossing antwoord uitleg redenering
الحل الجواب الإجابة التفسير التحليل
हल उत्तर समाधान व्याख्या
rozwiązanie odpowiedź wyjaśnienie rozumowanie
çözüm cevap yanıt açıklama
giải đáp
penyelesaian jawaban penjelasan pembahasan
розвязок розвязання відповідь пояснення міркування
řešení odpověď vysvětlení
svar förklaring resonemang tankegång
ratkaisu vastaus selitys ajatusprosessi
λύση απάντηση εξήγηση
פתרון תשובה הסבר
megoldás válasz magyarázat gondolatmenet
soluție soluția răspuns răspunsul explicație raționament
suluhisho jibu maelezo
پاسخ جواب توضیح
সমাধান উত্তর ব্যাখ্যা
คำตอบ วิธีทำ เฉลย
"""
# Who is about to do something: an announcement together with what is done to a problem ("I will go" answers something).
_CORES = """
let us|lets|let me|i will|i ll|ill|we will|we ll|i am going to|i m going to|im going to|we are going to|were going to
|we can|we need to|we should|i need to|i should|i can|i would|step by step|one step at a time|here is|heres|below is
|the following is|first things first|time to
|vamos a|voy a|resolvamos|analicemos|pensemos|veamos|paso a paso|empecemos|comencemos|procedamos
|nous allons|je vais|résolvons|analysons|réfléchissons|voyons|étape par étape|pas à pas|commençons|procédons
|lassen sie uns|lass uns|lasst uns|wir werden|ich werde|gehen wir|schritt für schritt|beginnen wir|betrachten wir
|lösen wir|analysieren wir|überlegen wir|schauen wir|denken wir
|risolviamo|analizziamo|pensiamo|vediamo|passo dopo passo|passo per passo|iniziamo|cominciamo|procediamo
|vamos resolver|vamos analisar|vamos pensar|vou resolver|resolvamos|passo a passo|comecemos|analisemos
|давайте|давай|шаг за шагом|пошагово|я буду|мы будем|начнем|начнём|рассмотрим|решим|разберем|разберём
|laten we|ik zal|we gaan|stap voor stap
|لنحل|دعنا|دعونا|خطوة بخطوة|سنقوم|سوف|لنفكر|لنبدأ
|आइए|चलिए|चरण दर चरण|कदम दर कदम
|rozwiążmy|zastanówmy|krok po kroku|przeanalizujmy|adım adım|çözelim|düşünelim|từng bước|hãy giải|mari kita
|langkah demi langkah
|крок за кроком|розвяжімо|розглянемо|krok za krokem|pojďme|låt oss|steg för steg|ratkaistaan|vaihe vaiheelta
|βήμα προς βήμα|ας λύσουμε|ας δούμε|בואו|נפתור|שלב אחר שלב|צעד אחר צעד|lépésről lépésre|oldjuk meg|nézzük
|să rezolvăm|pas cu pas|hatua kwa hatua|tutatue|گام به گام|بیایید|ধাপে ধাপে|চলুন
|démarrons|erst einmal|prima di tutto|antes de nada|antes de mais nada|разберёмся|разберемся
"""
_WORDS = """
a about above absolutely again aha all alright also am an and approach are as ask asked at attempt away bit below
break but by calculate calculation can careful carefully certainly chain check clear clearly closely compute
conclusion consider correct course deep deeply derive detail detailed details determine dive do down each equation
everything examine exercise explain figure final find first follow following follows for from full fully get give
given go going great handle have here heres hmm how i ill im in information instruction into is issue it key know lets
let ll logic logical logically look m mathematical mathematically me methodical methodically my need needs next now of
ok okay on order our out over part parts piece plan please point problem problems proceed process provide puzzle query
question questions ready really reason reflect request required requirements result right say see should situation
slow slowly so solve solving some start started starting statement step steps such sure systematic systematically
tackle take task that the them then these thing things think this thorough thoroughly through time to together try
turn understand up us use walk want we well were what which while will with work working would wait write you your
begin begins beginning analyze analyse analyzing evaluate address review re read reading accurate actually additional
already any approaching asking attempting based basic be before being big both breaking brief briefly bring came carry
checking clarify complete completely comprehensive concise considering cover covering decide describe dig discuss
diving draw due during ensure essential every exact exactly example examining expand explaining explanations explored
exploring extremely few figuring finally finding finished firstly focus form formal found further general good gather
gathering goal guide help his identify identifying important initial inside instance intro introduction jump just keep
laying lead least leave long looking main make making may method might mind much naturally necessary needed new obtain
obvious once open or other otherwise ours outline outlining overall overview own particular patiently per perform
pieces plain planning possible precise precisely present presented presenting previous prior proceeding properly prove
provided provides providing put quick quickly quite reach reasoned recap rest reviewing rigorous rigorously section
separately sequence set shall short show showing shown simple simpler simplest simply since small smaller soon
specific specifically split splitting stage stages state stated still stop straight straightforward structure
structured structuring study studying subject suggest summary summarize tackled tackling taking technique tell there
therefore thinker thoughtful thoughtfully too top toward towards track translate trying underlying understanding
unpack until upon used useful using usual via view walking ways when where whether whole why within without works
writing written yet
el la los las un una unos unas de del al a en por para con que este esta esto ese eso problema problemas pregunta
ejercicio tarea ecuación paso pasos final mi nuestra su es sigue siguiente siguientes aquí está como así claro vale bien
primero ahora juntos resolver resolverlo pensar analizar analizarlo empezar comenzar ver proceso pensamiento
cuidadosamente detenidamente detalladamente detalle y lo se hay debemos tenemos podemos necesitamos encontrar calcular
le les des du au aux une ce cet cette ces problème question exercice tâche étape étapes ma mon notre votre est voici
suit suivante suivant comme bien sûr dabord ensuite maintenant ensemble résoudre penser analyser commencer voir
processus pensée réflexion soigneusement attentivement détail et nous je il on peut faut devons pouvons trouver par dans
sur pour
der die das den dem des ein eine einen einem einer diese dieses diesen dieser problem aufgabe frage gleichung schritt
schritte meine unsere ihre ist hier folgt folgende folgendes wie also gut klar zuerst zunächst nun jetzt gemeinsam
zusammen lösen denken analysieren beginnen sehen prozess sorgfältig genau detail und wir ich es uns mit im in an zu auf
für über durch nachdenken gedanken endgültige finden berechnen angehen
il lo gli i un uno della del dello dei delle questo questa problema domanda esercizio compito equazione passo passi mia
nostra è ecco segue seguente come bene certo prima ora insieme risolvere pensare analizzare iniziare vedere processo
pensiero attentamente dettaglio e ci si dobbiamo possiamo trovare per con finale
o os as um uma do da dos das este esta isto esse isso problema pergunta questão exercício tarefa equação passo passos
minha nossa é aqui está segue seguinte como bem claro primeiro agora juntos resolver pensar analisar começar ver
processo pensamento cuidadosamente detalhe e nós eu se com precisamos podemos encontrar para
эту это этот задачу задача проблему проблема вопрос уравнение шаг шаги мой моё мое наше наш ваш вот следующее следующий
как так хорошо конечно сначала теперь вместе решать решить думать подумаем анализировать разбираться процесс мысли
мыслей размышления внимательно подробно и мы я по на в с о об к над порядку найти вычислить ход окончательный
de het een dit deze dat probleem vraag opgave taak vergelijking stap stappen mijn onze is hier volgt volgende zoals goed
natuurlijk eerst nu samen oplossen denken analyseren beginnen zien proces gedachten gedachteproces zorgvuldig en we ik
هذه هذا المسألة المشكلة السؤال معا بالتفصيل بعناية أولا الآن نفكر نحل في هو هي كما يلي النهائي النهائية عملية التفكير
इस यह समस्या प्रश्न सवाल को का की के में हल करें करते हैं है पर से सोचते विचार प्रक्रिया अंतिम सोचें करेंगे
cuidado cuidadosa detallada detallado completa completo entender comprender entendamos primera razonar razono
détaillée détaillé complète complet comprendre raisonner regardons
ausführliche ausführlicher detaillierte vollständige verstehen an schauen sehen durch gehen mein meinen genauer einmal
dettagliata dettagliato completa completo capire comprendere mio attenzione
detalhada detalhado completa completo entender compreender meu razão
подробный подробное полный полное понять что дано нужно разберёмся разберемся рассуждений ход ответа
volledige gedetailleerde begrijpen bekijken we mijn
to zadanie tym nad się spokojnie krok po problem proces myślenia moje poniżej pełne
bu soruyu problemi adım süreci düşünme sorunu birlikte nihai
lời bài toán này hãy từng bước một quá trình suy nghĩ câu trả
soal ini masalah mari kita selesaikan langkah demi proses berpikir
це завдання цю задачу крок за кроком думок
tuto úlohu tento příklad problém vyřešit myšlenkový postup
oss lösa det här problemet uppgiften steg för
tämä tehtävä ongelma vaihe vaiheelta
ας αυτό το πρόβλημα βήμα προς διαδικασία σκέψης
את הבעיה הזאת שלב אחר תהליך החשיבה בואו נפתור
ezt a feladatot problémát lépésről lépésre meg
această problemă procesul de gândire să pas cu
tatizo hili mchakato wa kufikiri
این مسئله را حل کنیم راه روند تفکر به
সমস্যাটি করি চিন্তার প্রক্রিয়া এই
มาแก้ปัญหานี้ทีละขั้นตอนกันเถอะ กระบวนการคิด
"""
# Where words are not separated: what is left after these is what was said.
_JOINED = re.compile(
    "让我们|让我|我们来|我们|我来|一步一步|逐步|一步步|首先|现在|接下来|来|地|解决|解答|求解|思考|分析|看看|看|这个|这道|该|此|问题|题目|题|过程|思路"
    "|步骤|答案|回答|解析|解释|推理|最终|如下|下面|以下|是|的|好的|好|仔细|一下|将|会|要|并|解|详细|开始|吧|の|を|は|で|に|と|て|が"
    "|では|それでは|まず|この|問題|解決|解答|解説|解法|かいせつ|かいとう|考え|考えて|考えましょう|ましょう|みましょう|解き|解いて|いき|いきます|ます"
    "|します|しましょう|一歩|ずつ|段階|的|ステップ|バイ|順|順番|順を追って|思考|プロセス|過程|回答|答え|推論|最終|以下|通り|説明|分析|一緒|さあ|次"
    "|풀이|해설|해답|답변|정답|답|문제|이|를|을|의|은|는|단계별로|단계별|단계|차근차근|하나씩|풀어|봅시다|보겠습니다|보자|해결|해|생각|사고|과정|분석"
    "|하겠습니다|합시다|설명|최종|다음|과|같습니다|먼저|이제|함께|자"
)
_JOINED_SCRIPTS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_JOINED_CORE = re.compile(
    "让我|我们来|一步|逐步|解|思考|思路|步骤|答案|回答|分析|推理|問題|解決|かい|考え|一歩|段階|ステップ|思考|答え|推論|풀이|해설|해답|정답|답변|단계|차근|하나씩|풀어"
    "|해결|사고|생각|분석"
)
_DOING = re.compile(
    "solv|think|work|break|anal|reason|figure|tackl|approach|consider|walk|step|problem|question|task|exercise|comput"
    "|calculat|understand|asked|through|begin|start|smaller"
    "|resolv|resuel|pens|pas[oà]|problema|analis|entend|comprend|réfléch|résou|résol|étape|lös|denk|schritt|überleg"
    "|aufgabe|verst|risol|ragion|passo|capir|реш|дума|шаг|зада|разб|рассм|пошаг|понять|oplos|stap|opgave|zadani|rozwiąż"
    "|zastan|soru|düşün|giải|soal|masalah|завдан|розвяж|úlohu|lösa|tehtäv|λύσ|πρόβλ|בעי|פתר|feladat|tatizo|مسئله|সমস্যা"
    "|حل|خطو|فكر|सोच|हल|चरण|कदम"
)
_OPTION = re.compile(r"(?<![^\W_])[A-HJ-Z][\W_]*\Z")
_APOSTROPHES = re.compile(r"['’ʼ`´‘]")
_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f\u0900-\u0963]+[^\W_]*)*")


def _split(text: str) -> frozenset[str]:
    return frozenset(words(text))


def words(text: str) -> list[str]:
    """Return the words of a text, as they are compared: without case, apostrophes and punctuation."""
    return _WORD.findall(_APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold()))


_CORE = re.compile(r"(?<!\w)(?:" + "|".join(
    " ".join(words(core)) for core in re.sub(r"\s*\n\|?", "|", _CORES).strip("|").split("|")
) + r")(?!\w)")  # fmt: skip
# With these at its end "Answer: B" and "The answer is one" do answer.
_ANSWERS = _split("yes one first second right correct accurate possible true all both everything 是 是的")
_CORE_NOUNS = _split(_NOUNS)
_VOCABULARY = _split(_WORDS) | _CORE_NOUNS | _split(_CORES.replace("|", " "))


def announces(text: str) -> bool:
    """Tell whether a text only announces an answer.

    Args:
        text: without reasoning and without what Markdown hides; it holds a letter or digit.
    """
    line = text.strip().strip("*_#>` \t")
    found = words(text)
    if not found or found[-1] in _ANSWERS or _OPTION.search(text):
        return False
    if len(line) <= MAX_LINE and "\n" not in line and line.endswith((":", "：")):
        named = [word for word in found if not word.isdecimal()]  # "Step 1:", but not "2, 3, 5:"
        return named == found or (bool(named) and _VOCABULARY.issuperset(named))
    if len(set(found)) > MAX_WORDS:
        return False
    spaced = [word for word in found if not _JOINED_SCRIPTS.search(word)]
    joined = [word for word in found if _JOINED_SCRIPTS.search(word)]
    if any(word not in _VOCABULARY for word in spaced) or any(_JOINED.sub("", word) for word in joined):
        return False
    if any(map(_JOINED_CORE.search, joined)) or (len(found) <= MAX_TITLE and not _CORE_NOUNS.isdisjoint(found)):
        return True
    whole = " ".join(found)
    return _CORE.search(whole) is not None and (_DOING.search(whole) is not None or not _CORE_NOUNS.isdisjoint(found))
