/*
 * An exercise that is not done yet: said once of each, on the console of whoever comes there.
 */
#include <guest/pv/drivers/exercise.h>
#include <guest/pv/lib/pv.h>
#include <guest/pv/lib/text.h>

#define EXERCISES_MAX 8u

void
exercise_todo(const char *id, const char *where)
{
	static const char *said[EXERCISES_MAX];
	unsigned n = 0;

	while (n < EXERCISES_MAX && said[n] && strcmp(said[n], id))
		n++;
	if (n == EXERCISES_MAX || said[n])
		return;
	said[n] = id;
	pv_printf("exercise %s is not done yet: see %s\n", id, where);
}
