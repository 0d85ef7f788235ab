/*
 * BUILD: guest/dom0/config.c guest/dom0/disk.c guest/dom0/vifspec.c guest/pv/drivers/address.c
 * guest/dom0/rulewords.c
 */
/*
 * A domain's configuration file: what is read, where what is wrong is said to be, files that were
 * drawn and read back, and files of any bytes.
 */
#include <string.h>

#include <guest/dom0/config.h>

#include "draw.h"
#include "tap.h"

static void
show_vif(char *to, const struct vif_spec *v)
{
	char mac[MAC_TEXT], ip[IP_TEXT];

	to += sprintf(to, "|vif");
	to += v->has_mac ? sprintf(to, " %s", mac_text(v->mac, mac)) : 0;
	to += v->ip ? sprintf(to, " %s", ip_text(v->ip, ip)) : 0;
	to += v->rate ? sprintf(to, " %lu B/s", v->rate) : 0;
	to += v->rules.count ? sprintf(to, ", %u rules", v->rules.count) : 0;
	if (*v->backend)
		sprintf(to, " of %s", v->backend);
}

/* "name|kernel|ramdisk|extra|memory|vcpus", or "line:column: words". */
static const char *
read_it(const char *text, size_t len)
{
	static char got[900];
	struct config_wrong w;
	struct config c;
	char *exactly = malloc(len ? len : 1); /* a byte more is seen */

	memcpy(exactly, text, len);
	if (config_read(&c, exactly, len, &w))
		snprintf(got, sizeof(got), "%u:%u: %s", w.at.line, w.at.column, w.words);
	else
		snprintf(got, sizeof(got), "%s|%s|%s|%s|%lu|%lu", c.name, c.kernel, c.ramdisk,
			 c.extra, c.memory, c.vcpus);
	for (unsigned n = 0; *got > '9' && n < c.disks; n++)
		sprintf(got + strlen(got), "|%s%s %s %u %c", c.disk[n].target,
			c.disk[n].device ? "*" : "", c.disk[n].name, c.disk[n].number,
			c.disk[n].readonly ? 'r' : 'w');
	for (unsigned n = 0; *got > '9' && n < c.disks; n++) {
		unsigned major, minor;

		if (*c.disk[n].backend)
			sprintf(got + strlen(got), " of %s", c.disk[n].backend);
		if (disk_numbers(&c.disk[n], &major, &minor))
			sprintf(got + strlen(got), " by %x, %x", major, minor);
	}
	for (unsigned n = 0; *got > '9' && n < c.ioports; n++)
		sprintf(got + strlen(got), "|%x-%x", c.ioport[n].first, c.ioport[n].last);
	for (unsigned n = 0; *got > '9' && n < c.irqs; n++)
		sprintf(got + strlen(got), "|irq %lu", c.irq[n]);
	for (unsigned n = 0; *got > '9' && n < c.vifs; n++)
		show_vif(got + strlen(got), &c.vif[n]);
	if (*got > '9' && c.type)
		strcat(got, c.type == CONFIG_PVH ? "|pvh" : "|?");
	if (*got > '9' && c.cpu_weight)
		sprintf(got + strlen(got), "|weight %lu", c.cpu_weight);
	if (*got > '9' && (c.on_poweroff || c.on_reboot != CONFIG_RESTART || c.on_crash))
		sprintf(got + strlen(got), "|%lu%lu%lu", c.on_poweroff, c.on_reboot, c.on_crash);
	free(exactly);
	return got;
}

#define ON    "disk vif ioports irqs on_poweroff on_reboot on_crash"
#define WHOLE "name='n'\nkernel='k'\nmemory=8\n"

static const struct {
	const char *text, *want;
} rows[] = {
	{ WHOLE, "n|k|||8|1" },
	{ "name=\"n\";kernel='k';memory=8", "n|k|||8|1" },
	{ "\t name =\t'n' # c\r\n\n#name='x'\n;;kernel='k' ; memory= 8;", "n|k|||8|1" },
	{ WHOLE "extra=\"a='1' \\\"2\\\" \\\\\"", "n|k||a='1' \"2\" \\|8|1" },
	{ WHOLE "extra='' ; ramdisk='r # no comment' ; vcpus=2", "n|k|r # no comment||8|2" },
	{ "name='n'\nkernel='k'\nmemory=0x40", "n|k|||64|1" },
	{ "name='n'\nkernel='k'\nmemory='010'", "n|k|||8|1" },
	{ "name='n'\nkernel='k'\nmemory=4096", "n|k|||4096|1" },
	{ WHOLE "cpu_weight=512", "n|k|||8|1|weight 512" },
	{ WHOLE "cpu_weight=65536", "4:12: cpu_weight is a number from 1 to 65535" },
	{ WHOLE "on_reboot='destroy'; on_crash = \"preserve\"; on_poweroff='restart'",
	  "n|k|||8|1|102" },
	{ WHOLE "type='pv'", "n|k|||8|1" },
	{ WHOLE "type=\"pvh\"", "n|k|||8|1|pvh" },
	{ WHOLE "type='hvm'", "4:6: type is \"pv\" or \"pvh\"" },
	{ WHOLE "type=1", "4:6: type takes a text in quotes" },
	{ WHOLE "on_crash='destory'",
	  "4:10: on_crash is \"destroy\", \"restart\" or \"preserve\"" },
	{ WHOLE "on_crash='destroyed'", "4:10: on_crash's text is too long" },
	{ WHOLE "on_crash=0", "4:10: on_crash takes a text in quotes" },
	{ WHOLE "on_crash=''", "4:10: on_crash's text is empty" },
	{ "name='12'\nkernel='k'\nmemory=8\n", "1:6: name of digits alone would be a number" },
	{ "name='12a'\nkernel='k'\nmemory=8\n", "12a|k|||8|1" },
	{ "", "1:1: name is missing" },
	{ "name='n'", "1:9: kernel is missing" },
	{ "name='n'\nkernel='k'\n", "3:1: memory is missing" },
	{ WHOLE "disks=['x']",
	  "4:1: no such key: name kernel ramdisk extra type memory vcpus cpu_weight " ON },
	{ WHOLE "disk=['a,raw,xvda,rw']", "n|k|||8|1|a xvda 51712 w" },
	{ WHOLE "disk = [ 'a , , xvdb' , # c\n\"file:b,xvda2,r\",\n]\nvcpus=2",
	  "n|k|||8|2|a xvdb 51728 w|b xvda2 51714 r" },
	{ WHOLE "disk=['vdev=xvdp15, access=ro ,format=raw, target=a,b ']",
	  "n|k|||8|1|a,b xvdp15 51967 r" },
	{ WHOLE "disk=['phy:hda1,xvda,w','/dev/hdb,,xvdb']",
	  "n|k|||8|1|hda1* xvda 51712 w|hdb* xvdb 51728 w" },
	{ WHOLE "disk=['vdev=xvda,target=/dev/hda', 'dev/hda,,xvdb', 'file:phy:x,xvdc,r']",
	  "n|k|||8|1|hda* xvda 51712 w|dev/hda xvdb 51728 w|phy:x xvdc 51744 r" },
	{ WHOLE "disk=['format=raw,a,xvda']", "4:7: the one format here is raw" },
	{ WHOLE "disk=[ ]", "n|k|||8|1" },
	{ WHOLE "disk=['a,,xvda,w,backend=drv']", "n|k|||8|1|a xvda 51712 w of drv" },
	{ WHOLE "disk=['phy:1:0,xvda,w,backend=l', '/dev/4095:1048575,,xvdb']",
	  "n|k|||8|1|1:0* xvda 51712 w|4095:1048575* xvdb 51728 w of l by 1, 0 by fff, fffff" },
	{ WHOLE "disk=['1:0,,xvda', 'phy:4096:0,xvdb', 'phy:1:1048576,xvdc', 'phy:1:,xvdd']",
	  "n|k|||8|1|1:0 xvda 51712 w|4096:0* xvdb 51728 w|1:1048576* xvdc 51744 w|"
	  "1:* xvdd 51760 w" },
	{ WHOLE "disk=['phy::0,xvda', 'phy:1:0x,xvdb', 'phy:99999999999:0,xvdc']",
	  "n|k|||8|1|:0* xvda 51712 w|1:0x* xvdb 51728 w|99999999999:0* xvdc 51744 w" },
	{ WHOLE "disk=['backend=dom0,vdev=xvda,target=/dev/hda,backend=x']",
	  "n|k|||8|1|hda,backend=x* xvda 51712 w" },
	{ WHOLE "disk=['a,,xvda,,backend=a23456789012345678901234']",
	  "4:7: the back end's name is too long" },
	{ WHOLE "ioports=['1f0-1F7' , \"3f6\"]; irqs = [ 14, 0xf ]",
	  "n|k|||8|1|1f0-1f7|3f6-3f6|irq 14|irq 15" },
	{ WHOLE "ioports=[]; irqs=[]", "n|k|||8|1" },
	{ WHOLE "ioports=['1f7-1f0']", "4:10: ioports are hexadecimal: '3f6', '1f0-1f7'" },
	{ WHOLE "ioports=['1f0-']", "4:10: ioports are hexadecimal: '3f6', '1f0-1f7'" },
	{ WHOLE "ioports=['1-2-3']", "4:10: ioports are hexadecimal: '3f6', '1f0-1f7'" },
	{ WHOLE "ioports=['0x3f6']", "4:10: ioports are hexadecimal: '3f6', '1f0-1f7'" },
	{ WHOLE "ioports=['10000']", "4:10: ioports are hexadecimal: '3f6', '1f0-1f7'" },
	{ WHOLE "ioports=['0000-ffff0']", "4:10: ioports's text is too long" },
	{ WHOLE "ioports=[1]", "4:10: ioports takes a text in quotes" },
	{ WHOLE "ioports='1'", "4:9: ioports takes a list: [ '1f0-1f7', '3f6' ]" },
	{ WHOLE "ioports=['1','2','3','4','5']",
	  "4:26: ioports's list is longer than there is room for" },
	{ WHOLE "irqs=[16]", "4:7: irqs is a number from 0 to 15" },
	{ WHOLE "irqs=14", "4:6: irqs takes a list: [ 14 ]" },
	{ WHOLE "irqs=[1,2,3,4,5]", "4:15: irqs's list is longer than there is room for" },
	{ WHOLE "vif=['']", "n|k|||8|1|vif" },
	{ WHOLE "vif=['mac=00:16:3e:0a:0B:0c , ip=10.0.2.7', 'rate=10Mb/s']",
	  "n|k|||8|1|vif 00:16:3e:0a:0b:0c 10.0.2.7|vif 1250000 B/s" },
	{ WHOLE "vif=['rate=7B/s']", "n|k|||8|1|vif 7 B/s" },
	{ WHOLE "vif=['rate=2GB/s, rules=out drop arp; accept']",
	  "n|k|||8|1|vif 2000000000 B/s, 2 rules" },
	{ WHOLE "vif=['rate=10']", "4:6: rate is bytes or bits in a second: 500KB/s, 10Mb/s" },
	{ WHOLE "vif=['rate=0B/s']", "4:6: rate is bytes or bits in a second: 500KB/s, 10Mb/s" },
	{ WHOLE "vif=['rate=4b/s']", "4:6: rate is bytes or bits in a second: 500KB/s, 10Mb/s" },
	{ WHOLE "vif=['rate=101GB/s']", "4:6: rate is bytes or bits in a second: 500KB/s, 10Mb/s" },
	{ WHOLE "vif=['rate=1Mb/s@20ms']",
	  "4:6: rate is bytes or bits in a second: 500KB/s, 10Mb/s" },
	{ WHOLE "vif=['rules=drop;drop it']",
	  "4:6: behind accept or drop: arp ip icmp tcp udp, from, to, sport, dport" },
	{ WHOLE "vif=['rules=drop;']", "n|k|||8|1|vif, 1 rules" },
	{ WHOLE "vif=['rules=drop;;drop']", "4:6: a rule is: [out | in] accept | drop ..." },
	{ WHOLE "vif=['rules=drop;drop;drop;drop;drop;drop;drop;drop;drop']",
	  "4:6: it has as many rules as there is room" },
	{ WHOLE "vif=['mac=00:16:3e:01:02:03:04']",
	  "4:6: mac is the address of one: 00:16:3e:01:02:03" },
	{ WHOLE "vif=['ip=10.0.2']", "4:6: ip is an address: 10.0.2.7" },
	{ WHOLE "vif=['ip=0.0.0.0']", "4:6: ip is an address: 10.0.2.7" },
	{ WHOLE "vif=['bridge=x']",
	  "4:6: a card's parameters are mac=, ip=, rate=, rules= and backend=" },
	{ WHOLE "vif=['backend=l','backend=dom0']", "n|k|||8|1|vif of l|vif" },
	{ WHOLE "vif=['backend=l,ip=10.0.2.7']",
	  "4:6: ip=, rate= and rules= are for a card of dom0's" },
	{ WHOLE "vif=['backend=a23456789012345678901234']",
	  "4:6: the back end's name is too long" },
	{ WHOLE "vif=['','','','','']", "4:18: vif's list is longer than a domain has room for" },
	{ WHOLE "vif='ip=10.0.2.7'", "4:5: vif takes a list: [ 'ip=10.0.2.7' ]" },
	{ WHOLE "disk='a,raw,xvda'", "4:6: disk takes a list: [ 'FILE, raw, xvda, rw' ]" },
	{ WHOLE "disk=['a,,xvda' 'b,,xvdb']", "4:17: disk's list has no comma here, and no end" },
	{ WHOLE "disk=['a,,xvda'", "4:16: disk's list has no comma here, and no end" },
	{ WHOLE "disk=['a,,xvda',\n", "5:1: disk takes a text in quotes" },
	{ WHOLE "disk=['a,,xvda',,'b,,xvdb']", "4:17: disk takes a text in quotes" },
	{ WHOLE "disk=['a,,xvda','a,,xvdb','a,,xvdc','a,,xvdd','a,,xvde']",
	  "4:47: disk's list is longer than a domain has room for" },
	{ WHOLE "disk=['a,qcow2,xvda']", "4:7: the one format here is raw" },
	{ WHOLE "disk=[\n 'a,raw,hda']", "5:2: vdev is xvda to xvdp, or a part of one: xvda1" },
	{ WHOLE "disk=['a,raw,xvdq']", "4:7: vdev is xvda to xvdp, or a part of one: xvda1" },
	{ WHOLE "disk=['a,raw,xvda16']", "4:7: vdev is xvda to xvdp, or a part of one: xvda1" },
	{ WHOLE "disk=['a,raw,xvda01']", "4:7: vdev is xvda to xvdp, or a part of one: xvda1" },
	{ WHOLE "disk=['a,raw,xvda,x']", "4:7: access is r, ro, w or rw" },
	{ WHOLE "disk=['a,raw,xvda,w,cdrom']",
	  "4:7: there are more parameters than target, format, vdev, access" },
	{ WHOLE "disk=['a,raw']", "4:7: it has no vdev" },
	{ WHOLE "disk=['vdev=xvda']", "4:7: it names no file" },
	{ WHOLE "disk=['']", "4:7: disk's text is empty" },
	{ WHOLE "Name='x'",
	  "4:1: no such key: name kernel ramdisk extra type memory vcpus cpu_weight " ON },
	{ WHOLE "  nam='x'",
	  "4:3: no such key: name kernel ramdisk extra type memory vcpus cpu_weight " ON },
	{ WHOLE "='x'", "4:1: here a key is to begin" },
	{ WHOLE "vcpus=1; name='x'", "4:10: name is there twice" },
	{ WHOLE "vcpus 2", "4:7: vcpus wants a = behind it" },
	{ WHOLE "vcpus", "4:6: vcpus wants a = behind it" },
	{ WHOLE "vcpus=", "4:7: vcpus takes a number" },
	{ WHOLE "vcpus=two", "4:7: vcpus takes a number" },
	{ WHOLE "vcpus=2x", "4:7: vcpus takes a number" },
	{ WHOLE "vcpus=-1", "4:7: vcpus takes a number" },
	{ WHOLE "vcpus=0x", "4:7: vcpus takes a number" },
	{ WHOLE "vcpus=08", "4:7: vcpus takes a number" },
	{ WHOLE "vcpus='2", "4:7: vcpus takes a number" },
	{ "name='n'\nkernel='k'\nmemory=1", "3:8: memory is a number from 2 to 4096" },
	{ WHOLE "vcpus=0", "4:7: vcpus is a number from 1 to 32" },
	{ WHOLE "vcpus=18446744073709551617", "4:7: vcpus is a number from 1 to 32" },
	{ WHOLE "vcpus=[1]", "4:7: vcpus takes a number" },
	{ WHOLE "vcpus=1 2", "4:9: vcpus's value has something behind it" },
	{ WHOLE "extra=x", "4:7: extra takes a text in quotes" },
	{ WHOLE "extra=1", "4:7: extra takes a text in quotes" },
	{ WHOLE "extra='x", "4:7: extra's text has no end in its line" },
	{ WHOLE "extra='x\n'", "4:7: extra's text has no end in its line" },
	{ WHOLE "extra='x\\n'", "4:9: only \\\\, \\\" and \\' are known" },
	{ WHOLE "extra='x\\", "4:9: only \\\\, \\\" and \\' are known" },
	{ WHOLE "extra='x\t'", "4:9: extra's text may not have this character" },
	{ WHOLE "ramdisk=''", "4:9: ramdisk's text is empty" },
	{ "name='a b'", "1:8: name's text may not have this character" },
	{ "name='a2345678901234567890123x'", "1:6: name's text is too long" },
	{ "memory=4097", "1:8: memory is a number from 2 to 4096" },
};

static void
table(void)
{
	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		const char *got = read_it(rows[n].text, strlen(rows[n].text));

		if (!ok(!strcmp(got, rows[n].want), "%.60s", rows[n].want))
			diag("got %s", got);
	}
}

/* A text of any characters, as it is meant, and as a file has it. */
static void
any_text(char *meant, char *written, unsigned most)
{
	char quote = draw(2) ? '"' : '\'';
	unsigned len = 1 + draw(most);

	*written++ = quote;
	while (len--) {
		char c = (char)(' ' + draw(95));

		if (c == quote || c == '\\' || (c == '"' + '\'' - quote && draw(2)))
			*written++ = '\\';
		*written++ = *meant++ = c;
	}
	*written++ = quote;
	*written = *meant = 0;
}

static void
by_chance(void)
{
	static const char *const between[] = { "\n", ";", " # 'x\n", "\n\n", " ;\t" };
	static const char *const formats[] = { "%u", "0x%x", "0%o", "'%u'", "\"0x%X\"" };
	unsigned bad = 0;

	for (unsigned n = 0; n < 5000; n++) {
		char texts[3][600], written[3][1200], file[5000], want[2000], line[6][1300],
			mib[20];
		unsigned memory = 2 + draw(4095), order = draw(6);

		any_text(texts[0], written[0], 63);
		any_text(texts[1], written[1], 63);
		any_text(texts[2], written[2], 511);
		snprintf(mib, sizeof(mib), formats[draw(5)], memory);
		snprintf(line[0], sizeof(line[0]), "name = 'n%u'", n);
		snprintf(line[1], sizeof(line[1]), "kernel=%s", written[0]);
		snprintf(line[2], sizeof(line[2]), "ramdisk =%s", written[1]);
		snprintf(line[3], sizeof(line[3]), "extra= %s", written[2]);
		snprintf(line[4], sizeof(line[4]), "memory=%s", mib);
		snprintf(line[5], sizeof(line[5]), "vcpus=%u", 1 + n % 32);
		*file = 0;
		for (unsigned k = 0; k < 6; k++) {
			strcat(file, line[(k + order) % 6]);
			strcat(file, between[draw(5)]);
		}
		snprintf(want, sizeof(want), "n%u|%s|%s|%s|%u|%u", n, texts[0], texts[1], texts[2],
			 memory, 1 + n % 32);
		bad += strcmp(read_it(file, strlen(file)), want) != 0;
	}
	is_u64(bad, 0, "5000 files of any texts and numbers are read back");
}

/* A file with some bytes changed, lost or doubled: it has an answer, and its place lies in it. */
static void
anything(void)
{
	static const char good[] = WHOLE "ramdisk = \"r\" ; vcpus = 0x1 # c\nextra='a \\' b'\n"
					 "disk=['file:x,xvda', 'y,,xvdb']\n";
	static const char odd[] = " \n;#='\"\\0x";
	unsigned taken = 0, bad = 0;

	for (unsigned n = 0; n < 100000; n++) {
		char file[2 * sizeof(good)];
		size_t len = sizeof(good) - 1;
		struct config_wrong w = { 0 };
		struct config c;

		memcpy(file, good, len);
		for (unsigned k = draw(4); k; k--)
			file[draw((uint32_t)len)] = draw(2) ? (char)draw(256) : odd[draw(10)];
		if (draw(2))
			len = draw((uint32_t)len);
		read_it(file, len);
		if (!config_read(&c, file, len, &w))
			taken++;
		else
			bad += !w.at.line || !w.at.column || w.at.column > len + 1 || !*w.words;
	}
	ok(taken > 1000 && !bad, "files of any bytes: %u are taken, the others have a place",
	   taken);
}

int
main(void)
{
	table();
	by_chance();
	anything();
	return done_testing();
}
