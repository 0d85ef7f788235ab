"""Lab 10.3: which frames a network card lets through.

Witnessed: rules_let() by itself, of frames and rules that are drawn, beside what rules.h says of them, in Python. And the network: what of
pings and datagrams comes back at the cable's end, by a domain of the reference's whose card has rules.
"""

import struct

from zeno.judging import headers

from .lab10 import AT_ONCE, Cable, mac_of, within

FIELDS = ("ways", "drop", "type", "protocol", "from", "from_mask", "to", "to_mask", "from_port", "to_port", "fits")
OUT, IN, RULES, HEAD, RULE_ALL, ALL, FIRST, *AT = headers.numbers(("guest/dom0/rules.h", "guest/dom0/netback.h"), (
    "WAY_OUT", "WAY_IN", "RULES", "NET_HEAD", "sizeof(struct rule)", "sizeof(struct rules)", "offsetof(struct rules, of)",
    *(f"offsetof(struct rule, {name})" for name in FIELDS)))
FORMS = dict(zip(FIELDS, ("<B", "<B", "<H", "<B", "<I", "<I", "<I", "<I", "<HH", "<HH", "<Q")))
AT = dict(zip(FIELDS, AT))
IPV4, ARP, TAG, TAG2, IPV6 = 0x0800, 0x0806, 0x8100, 0x88A8, 0x86DD
ICMP, TCP, UDP, GRE = 1, 6, 17, 47
MORE = 0x2000
NAMES = {0: "", IPV4: " ip", ARP: " arp"}
PROTOCOLS = {ICMP: " icmp", TCP: " tcp", UDP: " udp"}
US, THEM, OTHER = 0x0A000207, 0x0A000208, 0x0A000363


def address(number):
    """As one writes it."""
    return ".".join(str(number >> at & 255) for at in (24, 16, 8, 0))


class Rule:
    """One, as rule_read() makes it."""

    def __init__(self, drop, ways=OUT | IN, kind=0, protocol=0, **more):
        self.ways, self.drop, self.protocol = ways, drop, protocol
        self.froms, self.tos = more.get("froms", (0, 0)), more.get("tos", (0, 0))
        self.from_port, self.to_port = more.get("from_port", (0, 0)), more.get("to_port", (0, 0))
        self.type = IPV4 if protocol or self.froms[1] or self.tos[1] else kind
        self.count = more.get("count", 0)

    def words(self):
        """As one types it."""
        def net(word, pair):
            return f" {word} {address(pair[0])}/{bin(pair[1]).count('1')}" if pair[1] else ""

        def ports(word, pair):
            return f" {word} {pair[0]}-{pair[1]}" if pair[1] else ""

        way = {OUT: "out ", IN: "in "}.get(self.ways, "")
        return (way + ("drop" if self.drop else "accept") + (PROTOCOLS.get(self.protocol) or NAMES[self.type]) + net("from", self.froms)
                + net("to", self.tos) + ports("sport", self.from_port) + ports("dport", self.to_port))

    def raw(self):
        """As it lies in memory."""
        to = bytearray(RULE_ALL)
        values = {"ways": [self.ways], "drop": [self.drop], "type": [self.type], "protocol": [self.protocol], "from": [self.froms[0]], "from_mask": [self.froms[1]],
                  "to": [self.tos[0]], "to_mask": [self.tos[1]], "from_port": self.from_port, "to_port": self.to_port, "fits": [self.count]}
        for name, value in values.items():
            struct.pack_into(FORMS[name], to, AT[name], *value)
        return bytes(to)

    def asks_ports(self):
        """Whether it has some."""
        return bool(self.from_port[1] or self.to_port[1])

    def fits(self, seen):
        """Whether it is for a frame of which this is seen."""
        if self.type not in (0, seen["type"]) or self.protocol not in (0, seen["protocol"]):
            return False
        if any(word & mask != net for word, (net, mask) in ((seen["from"], self.froms), (seen["to"], self.tos))):
            return False
        if not self.asks_ports():
            return True
        if seen["ports"] is None:
            return self.drop
        return all(not last or first <= port <= last for port, (first, last) in zip(seen["ports"], (self.from_port, self.to_port)))


class Frame:
    """A frame: its bytes, how many of them can be seen, and what it is."""

    def __init__(self, packet, kind=IPV4, tags=(), padding=0, here=None, words=""):
        head = b"\x00\x16\x3e\x00\x00\x01\x00\x16\x3e\x00\x00\x02"
        self.data = head + b"".join(struct.pack(">HH", tag, 5) for tag in tags) + struct.pack(">H", kind) + packet + bytes([0xA5]) * padding
        most = min(len(self.data), HEAD)
        self.here = most if here is None else max(14, min(here, most))
        self.words = (f"{words}, {len(self.data)} bytes" + f" of which {self.here} are here" * (self.here < len(self.data)) + f", behind {len(tags)} tags" * bool(tags)
                      + f", of type {kind:04x}" * (kind != IPV4))

    def seen(self):
        """What of it is to be believed; None: nothing, it is broken."""
        head, at = self.data[:self.here], 12
        while at + 2 <= len(head) and int.from_bytes(head[at:at + 2], "big") in (TAG, TAG2):
            at += 4
        if at + 2 > len(head):
            return None
        found = {"type": int.from_bytes(head[at:at + 2], "big"), "protocol": 0, "from": 0, "to": 0, "ports": None}
        packet, room = head[at + 2:], len(self.data) - at - 2
        if found["type"] != IPV4:
            return found
        if len(packet) < 20:
            return None
        first, _, size, _, frag, _, protocol, _, source, to = struct.unpack(">BBHHHBBHII", packet[:20])
        own = (first & 15) * 4
        if first >> 4 != 4 or own < 20 or size < own or size > room:
            return None
        found |= {"protocol": protocol, "from": source, "to": to}
        if protocol in (TCP, UDP) and not frag & 0x1FFF and min(size, len(packet)) >= own + 4:
            found["ports"] = struct.unpack(">HH", packet[own:own + 4])
        return found


def packet(protocol=TCP, ports=(1000, 80), froms=US, to=THEM, **more):
    """One of IP; `size` is what it says of itself, `first` its first byte."""
    options, frag = more.get("options", 0), more.get("frag", 0)
    body = struct.pack(">HH", *ports)[:more.get("body", 24)].ljust(more.get("body", 24), b"\x50")
    size = 20 + options + len(body)
    return struct.pack(">BBHHHBBHII", more.get("first", 0x45 + options // 4), 0, size + more.get("lies", 0) & 0xFFFF, 7, frag, 64, protocol, 0, froms,
                       to) + bytes([1]) * options + body


def drawn_frame(rng):
    """Any."""
    protocol = rng.choice((TCP, TCP, UDP, UDP, ICMP, GRE))
    frag = rng.choice((0, 0, 0, MORE, 1, 3, MORE | 9, 0x4000, 0x8000, 0x1000))
    lies = rng.choice((0,) * 8 + (-1, 1, 7, -25, 65000))
    first = rng.choice((None,) * 9 + (0x44, 0x65, 0x4F, 0x40))
    options, more = rng.choice((0, 0, 0, 4, 40)), {} if first is None else {"first": first}
    ports = (rng.choice((1, 79, 80, 1000, 65535)), rng.choice((0, 7, 79, 80, 81, 1000)))
    body = rng.choice((24, 24, 400, 0, 2, 3, 4, 5))
    one = packet(protocol, ports, rng.choice((US, THEM, OTHER)), rng.choice((US, THEM, OTHER)), options=options, frag=frag, lies=lies, body=body, **more)
    kind = rng.choice((IPV4,) * 8 + (ARP, IPV6))
    tags = rng.choice(((), (), (), (TAG,), (TAG2, TAG), (TAG2,), (TAG,) * 30))
    here = rng.choice((None,) * 4 + (14, rng.randrange(14, 97)))
    return Frame(one, kind, tags, rng.choice((0, 0, 6, 30)), here,
                 f"a packet of protocol {protocol}, {address(int.from_bytes(one[12:16], 'big'))} to {address(int.from_bytes(one[16:20], 'big'))}, ports {ports}, "
                 f"options {options}, fragment {frag:04x}, a body of {body}, which says it has {int.from_bytes(one[2:4], 'big')} bytes, first byte {one[0]:02x}")


def drawn_rule(rng):
    """Any that somebody can type."""
    nets = ((0, 0), (0, 0), (0x0A000200, 0xFFFFFF00), (US, 0xFFFFFFFF), (THEM, 0xFFFFFFFF), (0x0A000000, 0xFF000000), (0, 0xFF000000))
    ranges = ((0, 0), (80, 80), (1, 79), (0, 7), (81, 65535), (7, 1000), (1000, 1000))
    protocol = rng.choice((0, 0, ICMP, TCP, TCP, UDP))
    ports = {"from_port": rng.choice(ranges), "to_port": rng.choice(ranges)} if protocol in (TCP, UDP) else {}
    kind = rng.choice((0, IPV4, ARP))
    wheres = {} if kind == ARP and not protocol else {"froms": rng.choice(nets), "tos": rng.choice(nets)}
    return Rule(rng.randrange(2), rng.choice((OUT, IN, OUT | IN)), kind, protocol, count=rng.getrandbits(40), **ports, **wheres)


class Judge:
    """rules_let(), in dom0 of the student's."""

    def __init__(self, t, guest):
        self.t, self.guest, self.client, self.rules, self.frame = t, guest, guest.client, guest.room, guest.room + 0x1000

    def one(self, frame, rules, way=OUT, what=""):
        """One frame."""
        t, client = self.t, self.client
        client.write(self.rules, (struct.pack("<I", len(rules)).ljust(FIRST, b"\0") + b"".join(one.raw() for one in rules)).ljust(ALL, b"\xEE"))
        client.write(self.frame, frame.data)
        got = self.guest.call("rules_let", self.rules, way, self.frame, frame.here, len(frame.data)) & 0xFF
        seen = frame.seen()
        by = next((n for n, rule in enumerate(rules) if seen and rule.ways & way and rule.fits(seen)), None)
        good = not rules or (seen is not None and (by is None or not rules[by].drop))
        words = (f"{what or frame.words}, which " + ("goes out" if way == OUT else "comes in") + ", with the rules `" + "; ".join(one.words() for one in rules) + "`")
        t.check(got in (0, 1) and got == good, f"{words}: whether it goes through", "it does" if good else "it does not", "it does" if got else "it does not")
        for n, rule in enumerate(rules):
            count, = struct.unpack("<Q", client.read(self.rules + FIRST + RULE_ALL * n + AT["fits"], 8))
            want = rule.count + (n == by)
            t.check(count == want, f"{words}: rule {n} counts otherwise", want, count)
            raw = bytearray(client.read(self.rules + FIRST + RULE_ALL * n, RULE_ALL))
            raw[AT["fits"]:AT["fits"] + 8] = struct.pack("<Q", rule.count)
            t.check(bytes(raw) == rule.raw(), f"{words}: rule {n} is another one behind it", rule.raw().hex(), bytes(raw).hex())


def fragments(judge):
    """What has no ports, or none that are here."""
    port80 = {"protocol": TCP, "to_port": (80, 80)}
    first, later, datagram = packet(frag=MORE), packet(frag=MORE | 2), {"protocol": UDP, "to_port": (80, 80)}
    for data, here, words in ((packet(), None, "a packet to port 80"), (first, None, "the first fragment of one to port 80"), (later, None, "a second fragment"),
                              (packet(frag=2), None, "a last fragment"), (packet(frag=1), None, "a last fragment, 8 bytes behind the packet's begin"),
                              (packet(frag=0x8000), None, "a packet with the flag that is reserved"), (packet(frag=0x4000), None, "a packet that is not to be cut"),
                              (packet(body=3), None, "a packet that is cut in its ports"),
                              (packet(body=4), None, "a packet of nothing but its ports"), (packet(), 14 + 20, "a packet whose ports are not here"),
                              (packet(), 14 + 23, "a packet whose ports are not all here"), (packet(), 14 + 24, "a packet of which no more than its ports is here"),
                              (packet(options=40), None, "a packet with options"), (packet(options=40, body=400), 14 + 60, "a packet whose options are here, and its ports not"),
                              (packet(options=40), 14 + 30, "a packet of whose head half of the options are here"), (packet(options=40), 14 + 20, "a packet of whose head no option is here"),
                              (packet(protocol=UDP, body=4), None, "a datagram of nothing but its ports"), (packet(protocol=UDP), 14 + 24, "a datagram of which no more than its ports is here"),
                              (packet(protocol=UDP, body=3), None, "a datagram that is cut in its ports"),
                              (packet(lies=-21), None, "a packet that says it ends in its ports"), (packet(protocol=ICMP), None, "a ping"),
                              (packet(protocol=UDP), None, "a datagram to port 80")):
        for more in ((Rule(True, **port80),), (Rule(False, **port80), Rule(True)), (Rule(False, protocol=TCP, to_port=(81, 90)), Rule(True)), (Rule(True, protocol=TCP, to_port=(81, 90)),),
                     (Rule(False, protocol=TCP), Rule(True)), (Rule(True, protocol=TCP, from_port=(1000, 1000), to_port=(80, 80)),), (Rule(True, protocol=TCP, from_port=(80, 80)),),
                     (Rule(True, **datagram),), (Rule(False, **datagram), Rule(True))):
            judge.one(Frame(data, here=here), list(more), what=words)


def broken(judge):
    """What says that it is IP, and is not; and what nobody can see."""
    for frame, words in ((Frame(packet(first=0x44)), "a head of 16 bytes"), (Frame(packet(first=0x65)), "version 6 as type 0800"), (Frame(packet(first=0x4F)), "a head of 60 bytes in a packet of 44"),
                         (Frame(packet(lies=1)), "a packet longer than its frame"), (Frame(packet(lies=1), padding=1), "a packet as long as its frame"),
                         (Frame(packet(lies=-25)), "a packet shorter than its head"), (Frame(packet(lies=-44)), "a packet that says it has 0 bytes"), (Frame(packet(lies=-24)), "a packet of a head alone"),
                         (Frame(packet(), padding=16), "a packet with padding"), (Frame(packet()[:19]), "half a head"), (Frame(packet(body=0)), "a whole head"),
                         (Frame(packet(body=400), here=33), "a head of which 19 bytes are here"), (Frame(packet(body=400), here=34), "a head that is here"),
                         (Frame(b""), "no packet"), (Frame(packet(), ARP), "ARP"), (Frame(packet(), IPV6), "IPv6"), (Frame(packet(), tags=(TAG,)), "a packet behind a tag"),
                         (Frame(packet(), tags=(TAG2, TAG)), "a packet behind two tags"), (Frame(packet(lies=1), tags=(TAG,)), "a packet longer than its frame, behind a tag"),
                         (Frame(packet(), tags=(TAG,) * 30), "more tags than anybody looks behind")):
        for rules in ([], [Rule(True, kind=ARP)], [Rule(False)], [Rule(True)], [Rule(True, protocol=TCP, to_port=(80, 80))], [Rule(False, protocol=TCP, to_port=(80, 80)), Rule(True, kind=IPV4)]):
            judge.one(frame, rules, what=words)


def orders(judge):
    """Which one decides."""
    frame, other = Frame(packet()), Frame(packet(UDP, froms=OTHER))
    here = {"froms": (0x0A000200, 0xFFFFFF00)}
    for rules in ([Rule(True)], [Rule(True, OUT)], [Rule(True, IN)], [Rule(False, protocol=TCP, count=5), Rule(True)], [Rule(True), Rule(False)], [Rule(False, OUT), Rule(True)],
                  [Rule(False, IN), Rule(True, OUT), Rule(False)], [Rule(True, protocol=UDP), Rule(False, count=3), Rule(True)], [Rule(True, **here)], [Rule(True, tos=here["froms"])],
                  [Rule(True, froms=(0, 0xFF000000))], [Rule(True, tos=(0, 0xFFFFFFFF))], [Rule(True, protocol=TCP, to_port=(0, 7))],
                  [Rule(False, protocol=TCP, from_port=(0, 7)), Rule(True)], [Rule(True, froms=(OTHER, 0xFFFFFFFF))], [Rule(True, tos=(US, 0xFFFFFFFF))], [Rule(True, protocol=UDP)] * (RULES - 1) + [Rule(True, protocol=TCP)]):
        for way in (OUT, IN):
            for one, words in ((frame, "a packet of TCP"), (other, "a datagram from elsewhere")):
                judge.one(one, rules, way, words)


DRAWN = 220


def decided(t):
    """rules_let()."""
    def look(guest):
        judge = Judge(t, guest)
        orders(judge)
        broken(judge)
        fragments(judge)
        for _ in range(DRAWN):
            judge.one(drawn_frame(t.rng), [drawn_rule(t.rng) for _ in range(t.rng.randrange(1, RULES + 1))], t.rng.choice((OUT, IN)))

    within(t, look, "dom0")


# -- the network -------------------------------------------------------------------------------------------


def summed(data):
    """The Internet's checksum (RFC 1071)."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip(source, to, protocol, body, options=0):
    """A packet that a domain takes."""
    head = struct.pack(">BBHHHBBHII", 0x45 + options // 4, 0, 20 + options + len(body), 1, 0, 64, protocol, 0, source, to) + bytes([1]) * options
    return head[:10] + struct.pack(">H", summed(head)) + head[12:] + body


class Talk:
    """The network's end of pings and datagrams."""

    def __init__(self, cable, mac, where):
        self.cable, self.mac, self.where, self.t = cable, mac, where, cable.t

    def arp(self, source):
        """A question, after which the domain knows who that is."""
        return b"\xff" * 6 + self.cable.mac + struct.pack(">HHHBBH", ARP, 1, IPV4, 6, 4, 1) + self.cable.mac + struct.pack(">I", source) + bytes(6) + struct.pack(">I", self.where)

    def ping(self, source, number, options=0):
        """An echo request: what comes back has its number."""
        body = struct.pack(">BBHHH", 8, 0, 0, 9, number) + self.t.rng.randbytes(20)
        body = body[:2] + struct.pack(">H", summed(body)) + body[4:]
        return self.mac + self.cable.mac + struct.pack(">H", IPV4) + ip(source, self.where, ICMP, body, options)

    def datagram(self, source, port, number, options=0):
        """To the port that sends back; without a checksum, which may be."""
        body = struct.pack(">HHHH", port, 7, 12, 0) + struct.pack(">I", number)
        return self.mac + self.cable.mac + struct.pack(">H", IPV4) + ip(source, self.where, UDP, body, options)

    @staticmethod
    def told(frame):
        """(protocol, number) of an answer, or None."""
        if frame[12:14] != struct.pack(">H", IPV4) or len(frame) < 46:
            return None
        at = 14 + (frame[14] & 15) * 4
        if frame[23] == ICMP and frame[at] == 0:
            return ICMP, int.from_bytes(frame[at + 6:at + 8], "big")
        return (UDP, int.from_bytes(frame[at + 8:at + 12], "big")) if frame[23] == UDP else None


def filtered(t):
    """A domain with rules, which are drawn, and the network."""
    mac, where, net = mac_of(t.rng), 0x0A000208, 0x0A000000 + (t.rng.randrange(3, 255) << 8)
    low, begin, end, high = sorted(t.rng.sample(range(1100, 60000, 7), 4))
    ruled = (f"in drop icmp from {address(net)}/24; in accept udp sport {low}-{high} dport 7; in drop udp dport 1-1023; "
             f"out drop udp dport {begin}-{end - 1}")
    file = (f"name = 'b'\nkernel = 'pv-net'\nmemory = 8\nextra = 'serve whole'\nvif = ['mac={mac.hex(':')}, ip={address(where)}, rules={ruled}']\n").encode()
    with Cable(t, ("dom0",), {"b.cfg": file}) as cable:
        talk = Talk(cable, mac, where)
        cable.begin()
        cable.type("create b.cfg", b"ready> ")
        near, far = 0x0A000263, net + 99
        asked = []
        for number in range(1, 9):
            options = t.rng.choice((0, 0, 8))
            asked += [((ICMP, number), talk.ping(near, number, options), True, "a ping from 10.0.2.99"),
                      ((ICMP, number + 100), talk.ping(far, number + 100, options), False, f"a ping from {address(far)}")]
            for first, last, comes in ((1024, low - 1, False), (low, begin - 1, True), (begin, end - 1, False), (end, high, True), (high + 1, 65535, False)):
                port = t.rng.choice((first, last, t.rng.randrange(first, last + 1)))
                key = UDP, number << 16 | port
                asked.append((key, talk.datagram(near, port, key[1], options), comes, f"a datagram from port {port}"))
        t.rng.shuffle(asked)
        for source in (near, far):
            cable.answers([talk.arp(source)], cable.frame(mac))
        got = set()
        for at in range(0, len(asked), AT_ONCE):
            got |= {talk.told(one) for one in cable.answers([frame for _, frame, *_ in asked[at:at + AT_ONCE]], cable.frame(mac))}
        for key, _, comes, words in asked:
            t.check((key in got) == comes, f"{words}, by a card with the rules `{ruled}`: whether it is answered at the cable's end", "it is" if comes else "it is not",
                    "it is" if key in got else "it is not")
