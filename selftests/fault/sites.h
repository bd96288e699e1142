/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The places in the module that allocate or copy, from the relocations in goheap.ko:
 * every call of a function of the kernel that may do so.  So none is forgotten that is
 * added later.
 */
#ifndef GOHEAP_TEST_SITES_H
#define GOHEAP_TEST_SITES_H

#include <module.h>
#include <elf.h>

struct site {
	const char *callee;
	const char *func;	/* that has it, and where the call returns to in it */
	unsigned int off, shndx;
	uint64_t addr;
	unsigned int failed;
};

static struct {
	char *image;
	const Elf64_Shdr *sh;
	const Elf64_Sym *sym;
	unsigned int nr_sh, nr_sym;
	const char *str;
	struct site site[256];
	unsigned int nr;
} ko;

static bool ko_open(void)
{
	int fd = open(module_path(), O_RDONLY | O_CLOEXEC);
	const Elf64_Ehdr *eh;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return false;
	ko.image = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	close(fd);
	if (ko.image == MAP_FAILED || memcmp(ko.image, ELFMAG, SELFMAG))
		return false;
	eh = (void *)ko.image;
	ko.sh = (void *)(ko.image + eh->e_shoff);
	ko.nr_sh = eh->e_shnum;
	for (unsigned int i = 0; i < ko.nr_sh; i++) {
		if (ko.sh[i].sh_type != SHT_SYMTAB)
			continue;
		ko.sym = (void *)(ko.image + ko.sh[i].sh_offset);
		ko.nr_sym = ko.sh[i].sh_size / sizeof(*ko.sym);
		ko.str = ko.image + ko.sh[ko.sh[i].sh_link].sh_offset;
	}
	return ko.sym;
}
NEED(ko_open, "needs goheap.ko");

/* The function that has this place. */
static const Elf64_Sym *ko_func(unsigned int shndx, uint64_t addr)
{
	for (unsigned int i = 0; i < ko.nr_sym; i++) {
		const Elf64_Sym *s = &ko.sym[i];

		if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_shndx == shndx &&
		    addr - s->st_value < s->st_size)
			return s;
	}
	return NULL;
}

static bool listed(const char *name, const char *const *list)
{
	while (*list && strcmp(*list, name))
		list++;
	return *list;
}

static void sites_add(const char *callee, unsigned int shndx, uint64_t addr)
{
	const Elf64_Sym *func = ko_func(shndx, addr - 1);

	if (!func || ko.nr == sizeof(ko.site) / sizeof(ko.site[0]))
		return;
	ko.site[ko.nr++] = (struct site){
		.callee = callee, .func = ko.str + func->st_name,
		.off = addr - func->st_value, .shndx = shndx, .addr = addr,
	};
}

/* All calls of what is in @callees. */
static void sites_find(const char *const *callees)
{
	for (unsigned int i = 0; i < ko.nr_sh; i++) {
		const Elf64_Rela *r = (void *)(ko.image + ko.sh[i].sh_offset);
		unsigned int nr = ko.sh[i].sh_size / sizeof(*r), to = ko.sh[i].sh_info;

		if (ko.sh[i].sh_type != SHT_RELA || !(ko.sh[to].sh_flags & SHF_EXECINSTR))
			continue;
		for (; nr--; r++) {
			const Elf64_Sym *s = &ko.sym[ELF64_R_SYM(r->r_info)];

			if (s->st_shndx == SHN_UNDEF && listed(ko.str + s->st_name, callees))
				sites_add(ko.str + s->st_name, to, r->r_offset + 4);
		}
	}
}

/* A fault was at @func + @off.  Functions may share a name, or have two. */
static bool sites_failed(const char *func, unsigned int off)
{
	bool found = false;

	for (unsigned int i = 0; i < ko.nr_sym; i++) {
		const Elf64_Sym *s = &ko.sym[i];

		if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || strcmp(ko.str + s->st_name, func))
			continue;
		for (unsigned int j = 0; j < ko.nr; j++)
			if (ko.site[j].shndx == s->st_shndx &&
			    ko.site[j].addr == s->st_value + off) {
				ko.site[j].failed++;
				found = true;
			}
	}
	return found;
}

/* For what is made to fail by other means. */
static void sites_failed_all(const char *callee)
{
	for (unsigned int i = 0; i < ko.nr; i++)
		if (!strcmp(ko.site[i].callee, callee))
			ko.site[i].failed++;
}

static unsigned int sites_count(const char *callee)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < ko.nr; i++)
		nr += !strcmp(ko.site[i].callee, callee) ? ko.site[i].failed : 0;
	return nr;
}

/* Calls that do not fail: how many of this function there are, and why. */
struct never {
	const char *callee;
	unsigned int nr;
	const char *why;
};

static unsigned int never_failed(const char *callee)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < ko.nr; i++)
		nr += !ko.site[i].failed && !strcmp(ko.site[i].callee, callee);
	return nr;
}

/* How many never failed, other than those in @never. */
static unsigned int sites_missed(const struct never *never)
{
	unsigned int missed = 0;

	for (unsigned int i = 0; i < ko.nr; i++)
		missed += !ko.site[i].failed;
	for (; never->callee; never++) {
		unsigned int nr = never_failed(never->callee);

		missed -= nr < never->nr ? nr : never->nr;
	}
	return missed;
}

/* Prints them; returns how many were missed. */
static unsigned int sites_report(const struct never *never)
{
	unsigned int failed = 0, missed = sites_missed(never);

	for (unsigned int i = 0; i < ko.nr; i++) {
		const struct site *s = &ko.site[i];

		printf("# site: %s+0x%x calls %s: failed %u times\n", s->func, s->off,
		       s->callee, s->failed);
		failed += !!s->failed;
	}
	for (; never->callee; never++)
		printf("# sites: %u of %s do not fail: %s\n", never->nr, never->callee,
		       never->why);
	printf("# sites: %u in the module, %u failed at least once, %u were missed\n", ko.nr,
	       failed, missed);
	return missed;
}

#endif
