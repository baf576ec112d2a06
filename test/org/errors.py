"""The two shapes in which Salesforce says that something went wrong."""

from wire import Response


class ApiError(Exception):
    """An API error: a JSON array with one entry."""

    def __init__(self, status, code, message, fields=None, headers=None):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.headers = headers or {}

    def response(self):
        entry = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            entry["fields"] = list(self.fields)
        return Response(self.status, [entry], headers=self.headers)


class OAuthError(Exception):
    """An OAuth error: a JSON object."""

    def __init__(self, error, description, status=400):
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description

    def response(self):
        return Response(self.status,
                        {"error": self.error, "error_description": self.description})


class RecordError(Exception):
    """Why one record was refused: statusCode in Collections, errorCode for a single row."""

    def __init__(self, code, message, fields=(), status=400):
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = list(fields)
        self.status = status

    def entry(self):
        return {"statusCode": self.code, "message": self.message, "fields": self.fields}

    def as_api_error(self):
        return ApiError(self.status, self.code, self.message, self.fields)


def not_found(message="The requested resource does not exist"):
    return ApiError(404, "NOT_FOUND", message)


def no_method(method):
    return ApiError(405, "METHOD_NOT_ALLOWED",
                    "HTTP Method '%s' not allowed. Allowed are HEAD,GET,POST,PATCH,DELETE" % method)


def no_access(obj, verb):
    if verb == "create":
        return RecordError("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                           "entity type cannot be inserted: %s" % obj.label)
    return RecordError("INSUFFICIENT_ACCESS_OR_READONLY",
                       "insufficient access rights on object id")
