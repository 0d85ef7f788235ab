/*
 * What is said in a guest where an exercise of a lab is not done yet.
 */
#pragma once

void exercise_todo(const char *id, const char *where);
