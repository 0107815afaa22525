/*
 * The part of Slurm's SPANK interface that condatainer uses.
 *
 * Declared here from the documented interface (spank(8)), so that building needs no Slurm. plugin/tests/abi.rs compiles this file
 * against every real <slurm/spank.h> it finds and asserts that names, values, sizes and offsets are the same: one plugin
 * binary serves Slurm 22.05 to 26.05.
 */
#ifndef CONDATAINER_SPANK_ABI_H
#define CONDATAINER_SPANK_ABI_H

#include <stdint.h>

typedef struct spank_handle *spank_t;

enum spank_item {
	S_JOB_UID = 0,
	S_JOB_GID = 1,
	S_JOB_ID = 2,
	S_JOB_STEPID = 3,
	S_JOB_NNODES = 4,
	S_JOB_LOCAL_TASK_COUNT = 6,
	S_JOB_TOTAL_TASK_COUNT = 7,
	S_JOB_ARGV = 9,
	S_JOB_ENV = 10,
};

enum spank_context {
	S_CTX_ERROR = 0,
	S_CTX_LOCAL = 1,
	S_CTX_REMOTE = 2,
	S_CTX_ALLOCATOR = 3,
	S_CTX_SLURMD = 4,
	S_CTX_JOB_SCRIPT = 5,
};

/* What spank_* functions return; the same numbers since Slurm 21.08. */
#define ESPANK_SUCCESS 0
#define CONDATAINER_ESPANK_ENV_NOEXIST 3004

typedef int (*spank_opt_cb_f)(int val, const char *optarg, int remote);

struct spank_option {
	char *name;
	char *arginfo;
	char *usage;
	int has_arg;
	int val;
	spank_opt_cb_f cb;
};

enum spank_context spank_context(void);
int spank_option_register(spank_t spank, struct spank_option *opt);
int spank_get_item(spank_t spank, enum spank_item item, ...);
int spank_getenv(spank_t spank, const char *var, char *buf, int len);
int spank_setenv(spank_t spank, const char *var, const char *val, int overwrite);

void slurm_error(const char *format, ...);

#endif
