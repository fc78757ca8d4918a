"""What the made-up vocabulary begins with: pairs of letters, endings, and words, the most frequent first."""

from __future__ import annotations

PAIRS = """
th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ic ne ea
ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc et ut ss so rs un lo wa ge ie
wh ee wi em ad ol rt po we na ul ni ts mo ow pa im mi ai sh ir su id os iv ia am fi ci vi pl ig tu ev ld ry mp fe bl ab
gh ty op wo sa ay ex ke fr oo av ag if ap gr od bo sp rd do uc bu ei ov by rm ep tt oc fa ef cu rn sc gi da yo cr cl du
"""

ENDINGS = """
s ing ed er ly ion tion ation ment ness able ible al ial ful less est ity ive ous ish ism ist ence ance ary ory ure age
ship ward wise like land man side time work out up down over line book way ers ings ments ations ally ized izing ize en
"""

WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you
were her all she there would their we him been has when who will more no if out so said what up its about into than them
can only other new some could time these two may then do first any my now such like our over man me even most made after
also did many before must through back years where much your way well down should because each just those people how too
little state good very make world still own see men work long get here between both life being under never day same
another know while last might us great old year off come since against go came right used take three place think small
number part found thought went say house once without however home during always water few night hand large until word
question answer token model text code page name line list value find use write read give tell show help call ask keep
let begin seem turn leave mean play run move live believe hold bring happen next early young important public bad able
want need feel try country school city group problem fact money week month hour room mother father child children eye
face door head body information system computer program language learning network data method result example table
figure function class object string integer array return import define self print else while break true false none null
public def private static void char int float double bool const struct type new delete throw catch async await
lambda yield plus minus times divided equal sum product square root prime even odd half third quarter hundred thousand
million zero
red green blue black white morning evening summer winter spring autumn north south east west river mountain sea sun moon
star bird fish dog cat horse tree flower apple bread music song story letter paper picture film game art science history
law war peace king queen friend love heart mind soul hope fear dream light dark fire earth wind rain snow stone gold
"""
