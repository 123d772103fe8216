/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct {
	bool bad, close, keep, chunked, sized;
	size_t body;
} Fields;

/* One "Name: value" of the head. */
static void read_field(Fields *fields, char *line)
{
	char *colon = strchr(line, ':');

	/* A blank before the colon is how requests are smuggled past a proxy that trims it. */
	if (colon == NULL || colon == line || strcspn(line, " \t") < (size_t)(colon - line)) {
		fields->bad = true;
		return;
	}
	*colon = '\0';
	char *value = colon + 1 + strspn(colon + 1, " \t");
	for (char *end = value + strlen(value); end > value && strchr(" \t", end[-1]) != NULL;)
		*--end = '\0';
	if (strcasecmp(line, "connection") == 0) {
		fields->close |= strcasestr(value, "close") != NULL;
		fields->keep |= strcasestr(value, "keep-alive") != NULL;
	} else if (strcasecmp(line, "transfer-encoding") == 0) {
		fields->chunked = true;
	} else if (strcasecmp(line, "content-length") == 0) {
		char *end = NULL;

		errno = 0;
		unsigned long length = strtoul(value, &end, 10);
		fields->bad |= fields->sized || value[0] < '0' || value[0] > '9' || *end != '\0' ||
			       errno != 0;
		fields->sized = true;
		fields->body = length;
	}
}

/* METHOD SP TARGET SP VERSION, in place. */
static bool split_request_line(char *line, char **method, char **target, char **version)
{
	char *first = strchr(line, ' ');
	char *second = first != NULL ? strchr(first + 1, ' ') : NULL;

	if (second == NULL || strchr(second + 1, ' ') != NULL || first[1] != '/')
		return false;
	*first = '\0';
	*second = '\0';
	*method = line;
	*target = first + 1;
	*version = second + 1;
	return strncmp(*version, "HTTP/1.", 7) == 0 && strlen(*version) == 8;
}

const char *request_read(Request *request, char *head)
{
	char *rest = NULL, *method = NULL, *target = NULL, *version = NULL;
	Fields fields = {0};
	char *line = strtok_r(head, "\r\n", &rest);

	if (line == NULL || !split_request_line(line, &method, &target, &version))
		return "400 Bad Request";
	while ((line = strtok_r(NULL, "\r\n", &rest)) != NULL)
		read_field(&fields, line);
	if (fields.bad || (fields.chunked && fields.sized))
		return "400 Bad Request";
	if (fields.chunked)
		return "501 Not Implemented";
	if (fields.body > REQUEST_BODY_LIMIT)
		return "413 Content Too Large";
	char *query = strchr(target, '?');
	if (query != NULL)
		*query++ = '\0';
	*request = (Request){
		.path = target,
		.query = query,
		.head_only = strcmp(method, "HEAD") == 0,
		.is_known = strcmp(method, "HEAD") == 0 || strcmp(method, "GET") == 0,
		.close_after = fields.close || (version[7] == '0' && !fields.keep),
		.body = fields.body,
	};
	return NULL;
}
